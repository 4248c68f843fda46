// SPDX-License-Identifier: MIT
/*
 * error.c - the last failure of each thread: recording it, and buddy_error().
 *
 * The record is in the thread's static block, which a library that is loaded late
 * shares with all others: it is small, and has pointers to texts. A path of a device is
 * there for good; that of one that could not be opened, or another word of the caller's,
 * is copied, and so is the sentence. Both are the thread's, and end with it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "error.h"
#include "private.h"

/* Of a sentence without the path, which is in it four times at most. */
#define TEXT_SIZE	1024
#define TIMES		4

static _Thread_local struct buddy_report last
	__attribute__((tls_model("initial-exec")));
/* The word of the record could not be copied. */
static const char lost[] = "";

struct memory {
	char *word, *sentence;
};

static pthread_key_t memory_key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end_memory(void *pointer)
{
	struct memory *memory = pointer;

	/* destructors that come later see no record, whose word would be gone */
	last = (struct buddy_report){ .text = "" };
	free(memory->word);
	free(memory->sentence);
	free(memory);
}

static void create_key(void)
{
	have_key = !pthread_key_create(&memory_key, end_memory);
}

/* The library leaves, with a plugin that it is part of: no thread may call it. */
__attribute__((destructor)) static void leave(void)
{
	if (have_key)
		pthread_key_delete(memory_key);
	have_key = false;
}

/* Return: the calling thread's; NULL where there is no memory. */
static struct memory *thread_memory(void)
{
	struct memory *memory;

	pthread_once(&once, create_key);
	if (!have_key)
		return NULL;
	memory = pthread_getspecific(memory_key);
	if (memory)
		return memory;
	memory = calloc(1, sizeof(*memory));
	if (memory && pthread_setspecific(memory_key, memory)) {
		free(memory);
		return NULL;
	}
	return memory;
}

static const char *keep_word(const char *text)
{
	struct memory *memory = thread_memory();
	char *word = memory ? strdup(text) : NULL;

	if (!word)
		return lost;
	free(memory->word);
	memory->word = word;
	return word;
}

/*
 * Is the cause that the program has put another file in the place of the descriptor?
 * Where it is asked, a call of the kernel has failed before: one more costs little.
 */
static bool is_replaced(const struct buddy_failure *f, const struct buddy_dev *dev)
{
	if (!dev || dev->fd < 0 || f->own || f->mapped)
		return false;
	/* a process backend maps the file, and answers the rest by itself */
	if (f->operation != OP_MAP &&
	    (!dev->path || f->operation < OP_INFO || f->operation > OP_FREE))
		return false;
	return !buddy_dev_is_open(dev);
}

int buddy_fail(const struct buddy_failure *failure, const struct buddy_dev *dev,
	       const char *text)
{
	last.failure = *failure;
	last.failure.where = !dev ? WHERE_FD : dev->path ? WHERE_DEVICE : WHERE_PROCESS;
	last.failure.replaced = is_replaced(failure, dev);
	last.failure.left = dev && dev->fd < 0;
	if (text)
		last.text = keep_word(text);
	else
		last.text = dev && dev->path ? dev->path : "";
	return failure->error;
}

int buddy_fail_at(enum buddy_operation operation, const struct buddy_dev *dev, int error)
{
	const struct buddy_failure failure = {
		.operation = operation,
		.error = error,
	};

	return buddy_fail(&failure, dev, NULL);
}

int buddy_fail_memory(enum buddy_operation operation, const struct buddy_dev *dev,
		      uint64_t length)
{
	const struct buddy_failure failure = {
		.operation = operation,
		/* after mlockall() mmap() may be above RLIMIT_MEMLOCK */
		.error = errno == EAGAIN ? -EAGAIN : -ENOMEM,
		.own = true,
		.length = length,
		.need = length,
	};

	return buddy_fail(&failure, dev, NULL);
}

void buddy_fail_in_pool(uint64_t length)
{
	struct buddy_failure *f = &last.failure;

	if (f->operation == OP_ALLOC)
		f->operation = OP_POOL_BLOCK;
	if (f->operation == OP_POOL_BLOCK)
		f->object = length;
	else if (f->operation == OP_POOL_ALLOC)
		f->length = length;
}

/* A text that grows, and stops at the end of its memory. */
struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3)))
static void put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->at, t->left, format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n >= t->left)
		n = (int)t->left - 1;
	t->at += n;
	t->left -= (size_t)n;
}

/* In the largest unit in which it is a whole number. */
static void put_bytes(struct text *t, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes && !(bytes & 1023) && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes >>= 10;
		unit++;
	}
	put(t, "%llu %s", (unsigned long long)bytes, units[unit]);
}

struct word {
	const char *name;
	void (*put)(struct text *t, const struct word *word, const struct buddy_report *r);
	size_t offset;		/* in struct buddy_failure, of 64 bits */
	int resource;		/* of getrlimit() */
	uint64_t (*number)(void);
	bool (*look)(const char *path, char *text, size_t size);
};

static uint64_t field(const struct word *word, const struct buddy_report *r)
{
	return *(const uint64_t *)((const char *)&r->failure + word->offset);
}

static void put_field(struct text *t, const struct word *word, const struct buddy_report *r)
{
	put_bytes(t, field(word, r));
}

static void put_abi(struct text *t, const struct word *word, const struct buddy_report *r)
{
	put(t, "%llu", (unsigned long long)field(word, r));
}

static void put_own_abi(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)word;
	(void)r;
	put(t, "%d", BUDDY_ABI_VERSION);
}

static void put_flags(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)word;
	put(t, "%#x", (unsigned int)r->failure.flags);
}

static void put_fd(struct text *t, const struct word *word, const struct buddy_report *r)
{
	char target[64];

	(void)word;
	buddy_look_target(r->failure.fd, target, sizeof(target));
	put(t, "%d%s%s%s", r->failure.fd, *target ? " (" : "", target, *target ? ")" : "");
}

static void put_where(struct text *t, const struct word *word, const struct buddy_report *r)
{
	static const char *const places[] = {
		[WHERE_PROCESS] = "the process backend",
		[WHERE_FD] = "a block fd",
	};

	(void)word;
	put(t, "%s", r->failure.where == WHERE_DEVICE ? r->text : places[r->failure.where]);
}

static void put_text(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)word;
	put(t, "%s", r->text);
}

static void put_limit(struct text *t, const struct word *word, const struct buddy_report *r)
{
	uint64_t limit = buddy_look_limit(word->resource);

	(void)r;
	if (limit == UINT64_MAX)
		put(t, "unlimited");
	else if (word->resource == RLIMIT_NOFILE)
		put(t, "%llu", (unsigned long long)limit);
	else
		put_bytes(t, limit);
}

static void put_addresses(struct text *t, const struct word *word,
			  const struct buddy_report *r)
{
	(void)word;
	(void)r;
	put_bytes(t, buddy_look_addresses());
}

static void put_number(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)r;
	put(t, "%llu", (unsigned long long)word->number());
}

static void put_number_of_node(struct text *t, const struct word *word,
			       const struct buddy_report *r)
{
	char text[64];

	(void)word;
	buddy_look_number(r->text, text, sizeof(text));
	put(t, "%s", text);
}

static void put_look(struct text *t, const struct word *word, const struct buddy_report *r)
{
	char text[64];

	word->look(r->text, text, sizeof(text));
	put(t, "%s", text);
}

static void put_regions(struct text *t, const struct word *word,
			const struct buddy_report *r)
{
	char text[128];

	(void)word;
	(void)r;
	buddy_look_regions(text, sizeof(text));
	put(t, "%s", text);
}

static void put_length(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)word;
	put_bytes(t, buddy_look_length(r->text));
}

static void put_mode(struct text *t, const struct word *word, const struct buddy_report *r)
{
	(void)word;
	put(t, "%04o", buddy_look_mode(r->text));
}

#define FIELD(member) offsetof(struct buddy_failure, member)

/* What stands in braces in a template. */
static const struct word words[] = {
	{ "length", put_field, .offset = FIELD(length) },
	{ "align", put_field, .offset = FIELD(align) },
	{ "chunk", put_field, .offset = FIELD(chunk) },
	{ "object", put_field, .offset = FIELD(object) },
	{ "need", put_field, .offset = FIELD(need) },
	{ "have", put_field, .offset = FIELD(have) },
	{ "taken", put_field, .offset = FIELD(taken) },
	{ "bytes_of_region", put_field, .offset = FIELD(region) },
	{ "free", put_field, .offset = FIELD(free) },
	{ "largest", put_field, .offset = FIELD(largest) },
	{ "returning", put_field, .offset = FIELD(returning) },
	{ "abi", put_abi, .offset = FIELD(have) },
	{ .name = "own_abi", .put = put_own_abi },
	{ .name = "flags", .put = put_flags },
	{ .name = "fd", .put = put_fd },
	{ .name = "where", .put = put_where },
	{ .name = "text", .put = put_text },
	{ "RLIMIT_AS", put_limit, .resource = RLIMIT_AS },
	{ "RLIMIT_FSIZE", put_limit, .resource = RLIMIT_FSIZE },
	{ "RLIMIT_MEMLOCK", put_limit, .resource = RLIMIT_MEMLOCK },
	{ "RLIMIT_NOFILE", put_limit, .resource = RLIMIT_NOFILE },
	{ .name = "addresses", .put = put_addresses },
	{ "mappings", put_number, .number = buddy_look_mappings },
	{ "max_map_count", put_number, .number = buddy_look_most_mappings },
	{ .name = "number", .put = put_number_of_node },
	{ "driver", put_look, .look = buddy_look_driver },
	{ "region", put_look, .look = buddy_look_region },
	{ .name = "regions", .put = put_regions },
	{ .name = "file_length", .put = put_length },
	{ .name = "mode", .put = put_mode },
};

static const struct word *find_word(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].name) == length && !memcmp(words[i].name, name, length))
			return &words[i];
	return NULL;
}

static void put_template(struct text *t, const char *template, const struct buddy_report *r)
{
	while (*template) {
		size_t plain = strcspn(template, "{"), name;
		const struct word *word;

		put(t, "%.*s", (int)plain, template);
		template += plain;
		if (!*template++)
			break;
		name = strcspn(template, "}");
		word = find_word(template, name);
		if (word)
			word->put(t, word, r);
		template += name + 1;
	}
}

static void format(struct text *t, const struct buddy_report *r)
{
	const char *cause = buddy_error_cause(r);
	char name[128];

	put(t, "cannot ");
	put_template(t, buddy_error_attempt(r->failure.operation), r);
	put(t, ": ");
	if (cause)
		put_template(t, cause, r);
	else
		put(t, "%s", strerror_r(-r->failure.error, name, sizeof(name)));
}

/* Return: of the calling thread; NULL where there is no memory. */
static const char *sentence(void)
{
	size_t size = TEXT_SIZE + TIMES * strlen(last.text);
	struct memory *memory = last.text == lost ? NULL : thread_memory();
	char *text = memory ? realloc(memory->sentence, size) : NULL;

	if (!text)
		return NULL;
	memory->sentence = text;
	format(&(struct text){ text, size }, &last);
	return text;
}

const char *buddy_error(void)
{
	int cancel, errno_before = errno;
	const char *text;

	if (last.failure.operation == OP_NONE)
		return "no call has failed";
	cancel = buddy_cancel_off();
	text = sentence();
	buddy_cancel_restore(cancel);
	errno = errno_before;
	return text ? text : "a call has failed, and there is no memory to say why";
}
