// SPDX-License-Identifier: MIT
/*
 * error.c - the last failure of each thread: recording it, and buddy_error().
 *
 * The record is in the thread's static block, which a library that is loaded late
 * shares with all others: it is small. The text is longer, and is allocated by the
 * first buddy_error() of a thread. It ends with the thread.
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

#define TEXT_SIZE	1024

static _Thread_local struct buddy_report last
	__attribute__((tls_model("initial-exec")));
static pthread_key_t text_key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

int buddy_fail(const struct buddy_failure *failure, const struct buddy_dev *dev,
	       const char *text)
{
	last.failure = *failure;
	last.failure.where = !dev ? WHERE_FD : dev->path ? WHERE_DEVICE : WHERE_PROCESS;
	if (!text && dev)
		text = dev->path;
	last.text[0] = 0;
	if (text) {
		strncpy(last.text, text, sizeof(last.text) - 1);
		if (strlen(text) >= sizeof(last.text))
			memcpy(last.text + sizeof(last.text) - 4, "...", 4);
	}
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
		.error = -ENOMEM,
		.own = true,
		.length = length,
	};

	return buddy_fail(&failure, dev, NULL);
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

	if (bytes == UINT64_MAX) {
		put(t, "unlimited");
		return;
	}
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
	void (*look)(const char *path, char *text, size_t size);
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
	if (word->resource == RLIMIT_NOFILE)
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

static void put_look(struct text *t, const struct word *word, const struct buddy_report *r)
{
	char text[64];

	word->look(r->text, text, sizeof(text));
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
	{ "have", put_field, .offset = FIELD(have) },
	{ "free", put_field, .offset = FIELD(free) },
	{ "largest", put_field, .offset = FIELD(largest) },
	{ "returning", put_field, .offset = FIELD(returning) },
	{ "abi", put_abi, .offset = FIELD(have) },
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
	{ "number", put_look, .look = buddy_look_number },
	{ "driver", put_look, .look = buddy_look_driver },
	{ "module", put_look, .look = buddy_look_module },
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

static void create_key(void)
{
	have_key = !pthread_key_create(&text_key, free);
}

/* The library leaves, with a plugin that it is part of: no thread may call free() of it. */
__attribute__((destructor)) static void leave(void)
{
	if (have_key)
		pthread_key_delete(text_key);
	have_key = false;
}

/* Return: TEXT_SIZE bytes of the calling thread; NULL where there is no memory. */
static char *text_memory(void)
{
	char *text;

	pthread_once(&once, create_key);
	if (!have_key)
		return NULL;
	text = pthread_getspecific(text_key);
	if (text)
		return text;
	text = malloc(TEXT_SIZE);
	if (text && pthread_setspecific(text_key, text)) {
		free(text);
		return NULL;
	}
	return text;
}

const char *buddy_error(void)
{
	int cancel, errno_before = errno;
	struct text t;
	char *text;

	if (last.failure.operation == OP_NONE)
		return "no call has failed";
	cancel = buddy_cancel_off();
	text = text_memory();
	if (text) {
		t = (struct text){ text, TEXT_SIZE };
		format(&t, &last);
	}
	buddy_cancel_restore(cancel);
	errno = errno_before;
	return text ? text : "a call has failed, and there is no memory to say why";
}
