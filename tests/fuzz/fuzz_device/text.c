// SPDX-License-Identifier: MIT
/*
 * text.c - programs as text: a call a line, an empty line between programs.
 *
 *   # from here to the end of the line is for people
 *   other 3                    a second thread runs it, too, from the third call on
 *   open new=f0
 *   alloc fd=f0 new=b0 length=0x200000
 *   mmap fd=f0 new=m0 length=b0.length offset=b0.offset
 *   touch at=m0+0x1000 length=m0.length-0x1000 write=1
 *   share fd=f0 new=f1 handle=b0.handle fail=3
 *
 * What is not written has its usual value (forms.c). fail=3: the third allocation or
 * copy that the kernel makes in this call fails.
 */
#include "fuzz.h"

static const struct {
	const char *before;	/* the slot's number */
	const char *after;
	bool slot;
} words[FROMS] = {
	[FD]		= { "f", "", true },
	[HANDLE]	= { "b", ".handle", true },
	[OFFSET]	= { "b", ".offset", true },
	[LENGTH]	= { "b", ".length", true },
	[MAP]		= { "m", "", true },
	[MAP_LENGTH]	= { "m", ".length", true },
	[WINDOW]	= { "w", "", true },
	[RW]		= { "@rw", "", false },
	[RO]		= { "@ro", "", false },
	[EDGE]		= { "@edge", "", false },
	[HOLE]		= { "@hole", "", false },
	[KERNEL]	= { "@kernel", "", false },
};

/* What an argument has that is not written; a slot is always written. */
static struct value usual(const struct arg *a)
{
	struct value v = { .n = a->usual };

	if (a->kind == PLACE || a->kind == POINTER)
		v.from = RW;
	if (a->kind == POINTER)
		v.n = 0x1000;
	return v;
}

static void print_new(FILE *to, const struct arg *a, const struct value *v)
{
	char letter = a->kind == NEW_FD ? 'f' : a->kind == NEW_BLOCK ? 'b' : 'm';

	fprintf(to, " %s=%c%u", a->name, letter, v->slot);
}

static void print_value(FILE *to, const struct arg *a, const struct value *v)
{
	struct value u = usual(a);
	int64_t n = (int64_t)v->n;

	if (a->kind == NEW_FD || a->kind == NEW_BLOCK || a->kind == NEW_MAP) {
		print_new(to, a, v);
		return;
	}
	if (v->from == u.from && v->n == u.n && !words[v->from].slot && a->kind != OLD_FD)
		return;
	fprintf(to, " %s=", a->name);
	if (v->from == NUMBER) {
		fprintf(to, v->n < 10 ? "%llu" : "0x%llx", (unsigned long long)v->n);
		return;
	}
	fputs(words[v->from].before, to);
	if (words[v->from].slot)
		fprintf(to, "%u", v->slot);
	fputs(words[v->from].after, to);
	if (n)
		fprintf(to, "%c0x%llx", n < 0 ? '-' : '+',
			n < 0 ? 0ull - v->n : (unsigned long long)v->n);
}

void program_print(FILE *to, const struct program *p)
{
	if (p->other)
		fprintf(to, "other %u\n", p->other);
	for (unsigned int i = 0; i < p->nr && i < MAX_CALLS; i++) {
		const struct call *c = &p->calls[i];
		const struct form *f = &forms[c->form % nr_forms];

		fputs(f->name, to);
		for (unsigned int a = 0; f->args[a].kind; a++)
			print_value(to, &f->args[a], &c->args[a]);
		if (c->fail)
			fprintf(to, " fail=%u", c->fail);
		fputc('\n', to);
	}
}

/* The text after the word at @at is a number or nothing, with its sign. */
static bool read_rest(const char *at, struct value *v)
{
	char *end;

	if (!*at) {
		v->n = 0;
		return true;
	}
	if (*at != '+' && *at != '-')
		return false;
	v->n = strtoull(at + 1, &end, 0);
	if (*at == '-')
		v->n = 0 - v->n;
	return end > at + 1 && !*end;
}

static bool read_value(const char *at, struct value *v)
{
	char *end;

	for (unsigned int i = FD; i < FROMS; i++) {
		size_t n = strlen(words[i].before), m = strlen(words[i].after);
		unsigned long slot = 0;
		const char *rest = at + n;

		if (strncmp(at, words[i].before, n))
			continue;
		if (words[i].slot) {
			slot = strtoul(rest, &end, 10);
			if (end == rest || slot >= SLOTS || strncmp(end, words[i].after, m))
				continue;
			rest = end + m;
		}
		v->from = (uint8_t)i;
		v->slot = (uint8_t)slot;
		if (read_rest(rest, v))
			return true;
	}
	*v = (struct value){ .n = strtoull(at, &end, 0) };
	return end > at && !*end;
}

/* name=value into the call. */
static bool read_argument(char *word, const struct form *f, struct call *c)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(word, "fail")) {
		c->fail = (uint8_t)strtoul(value, NULL, 0);
		return true;
	}
	for (unsigned int a = 0; f->args[a].kind; a++) {
		enum kind kind = f->args[a].kind;

		if (strcmp(word, f->args[a].name))
			continue;
		/* "f3", "b3", "m3" */
		if (kind == NEW_FD || kind == NEW_BLOCK || kind == NEW_MAP) {
			c->args[a].slot = (uint8_t)(strtoul(value + 1, NULL, 10) % SLOTS);
			return true;
		}
		return read_value(value, &c->args[a]);
	}
	return false;
}

static bool read_call(char *text, struct program *p)
{
	struct call *c = &p->calls[p->nr];
	char *word, *rest, *name = strtok_r(text, " \t\n", &rest);
	int form;

	if (!strcmp(name, "other")) {
		word = strtok_r(NULL, " \t\n", &rest);
		p->other = word ? (uint32_t)strtoul(word, NULL, 0) : 0;
		return p->other != 0;
	}
	form = form_find(name);
	if (form < 0 || p->nr == MAX_CALLS)
		return false;
	memset(c, 0, sizeof(*c));
	c->form = (uint8_t)form;
	for (unsigned int a = 0; forms[form].args[a].kind; a++)
		c->args[a] = usual(&forms[form].args[a]);
	while ((word = strtok_r(NULL, " \t\n", &rest)))
		if (!read_argument(word, &forms[form], c))
			return false;
	p->nr++;
	return true;
}

int program_read(FILE *from, const char *name, unsigned int *line, struct program *p)
{
	char text[1024];

	memset(p, 0, sizeof(*p));
	while (fgets(text, sizeof(text), from)) {
		char *comment = strchr(text, '#');
		bool was_comment = comment != NULL;

		(*line)++;
		if (comment)
			*comment = 0;
		if (!text[strspn(text, " \t\n")]) {
			if (p->nr && !was_comment)
				return 1;
			continue;
		}
		if (!read_call(text, p)) {
			fprintf(stderr, "%s:%u: no call that I know (%s ...)\n", name, *line, text);
			return -1;
		}
	}
	return p->nr ? 1 : 0;
}
