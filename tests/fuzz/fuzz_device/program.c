// SPDX-License-Identifier: MIT
/*
 * program.c - makes and alters programs.
 *
 * Most values are such that a call can succeed: a call that needs a descriptor, a
 * block or a mapping gets one that a call before it makes, and such a call is added
 * where there is none. The rest are those at which code goes wrong: limits, one beyond
 * them, another kind of thing, memory that is not there.
 */
#include "fuzz.h"
#include "../../core/rnd.h"

void random_start(uint64_t from)
{
	seed = from * 0x9e3779b97f4a7c15ull | 1;
}

uint64_t below(uint64_t n)
{
	return rnd() % n;
}

bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

/* What is being made: calls up to p->nr are there. */
struct draft {
	struct program *p;
	int block;		/* used in this call, or -1 */
	int map;
	struct value range;	/* the last one of this call */
	unsigned int depth;
};

static const uint64_t corners[] = {
	0, 1, 2, 4095, 4096, 4097, 8192, 0x10000, MIB, 2 * MIB - PAGE, 2 * MIB,
	2 * MIB + PAGE, 4 * MIB, 4 * MIB + 3 * PAGE, 6 * MIB - PAGE, 16 * MIB, 32 * MIB,
	62 * MIB, 64 * MIB, 64 * MIB + PAGE, 1ull << 30, (1ull << 31) - 1, 1ull << 31,
	(1ull << 32) - 1, 1ull << 32, (1ull << 32) + PAGE, 1ull << 44, INT64_MAX,
	1ull << 63, UINT64_MAX - 4095, UINT64_MAX,
};

static uint64_t odd_number(void)
{
	switch (below(4)) {
	case 0: return corners[below(sizeof(corners) / sizeof(corners[0]))];
	case 1: return 1ull << below(64);
	case 2: return below(256);
	default: return rnd() << 20 ^ rnd();
	}
}

/* Bytes: mostly small and whole pages, so that there is room for many. */
static uint64_t some_length(void)
{
	switch (below(10)) {
	case 0: case 1: case 2: case 3: case 4: return PAGE * (1 + below(16));
	case 5: return PAGE * (1 + below(511));
	case 6: return 2 * MIB * (1 + below(4));
	case 7: return 2 * MIB * (1 + below(4)) + PAGE * below(16);
	case 8: return corners[below(19)];
	default: return odd_number();
	}
}

static bool add_call(struct draft *d, unsigned int form);

/* The slots that calls so far have made, of a kind and a type; or -1. */
static int pick_slot(const struct program *p, enum kind kind, enum type type)
{
	int slots_made[MAX_CALLS * 2], n = 0;

	for (unsigned int i = 0; i < p->nr; i++) {
		const struct form *f = &forms[p->calls[i].form];

		for (unsigned int a = 0; f->args[a].kind; a++) {
			if (f->args[a].kind != kind)
				continue;
			if (type != ANY && f->makes != type)
				continue;
			slots_made[n++] = p->calls[i].args[a].slot;
		}
	}
	return n ? slots_made[below((uint64_t)n)] : -1;
}

static const char *const makers[TYPES] = {
	[ANY] = "open", [NODE] = "open", [SHARED] = "share", [DMABUF] = "dmabuf",
	[PIPE] = "pipe",
};

/* As pick_slot(), with a call that makes one where there is none. */
static int provide(struct draft *d, enum kind kind, enum type type)
{
	int slot = pick_slot(d->p, kind, type);
	const char *maker = kind == NEW_BLOCK ? "alloc" :
			    kind == NEW_MAP ? "mmap" : makers[type];
	struct draft deeper = { .p = d->p, .block = -1, .map = -1, .depth = d->depth + 1 };

	if (slot >= 0 && !one_in(20))
		return slot;
	if (d->depth < 4 && d->p->nr + 1 < MAX_CALLS)
		add_call(&deeper, (unsigned int)form_find(maker));
	slot = pick_slot(d->p, kind, type);
	return slot >= 0 ? slot : (int)below(SLOTS);
}

/* The same block in all of a call, mostly. */
static uint8_t block_slot(struct draft *d)
{
	if (d->block < 0 || one_in(10))
		d->block = provide(d, NEW_BLOCK, ANY);
	return (uint8_t)d->block;
}

static uint8_t map_slot(struct draft *d)
{
	if (d->map < 0 || one_in(10))
		d->map = provide(d, NEW_MAP, ANY);
	return (uint8_t)d->map;
}

static struct value number(uint64_t n)
{
	return (struct value){ .n = n };
}

static struct value slotted(enum from from, uint8_t slot, uint64_t n)
{
	return (struct value){ .from = (uint8_t)from, .slot = slot, .n = n };
}

static struct value odd_place(struct draft *d, uint64_t length)
{
	switch (below(8)) {
	case 0: return slotted(RO, 0, below(64) * 8);
	case 1: case 2: return slotted(EDGE, 0, 0 - below(length + 8));
	case 3: return slotted(HOLE, 0, below(64) * 8);
	case 4: return slotted(KERNEL, 0, below(64) * 8);
	case 5: return number(odd_number());
	case 6: return slotted(RW, 0, below(4096));
	default: return slotted(MAP, map_slot(d), PAGE * below(16) - (one_in(2) ? below(64) : 0));
	}
}

static struct value make_address(struct draft *d, bool window)
{
	uint64_t n = !one_in(4) ? 0 : PAGE * below(one_in(2) ? 16 : 1024);

	if (one_in(30))
		n += below(PAGE);
	if (!window)
		return slotted(MAP, map_slot(d), n);
	if (one_in(2))
		return number(0);
	if (one_in(2))
		n = 2 * MIB * below(4) + (one_in(2) ? PAGE * below(512) : 0);
	return slotted(WINDOW, (uint8_t)below(SLOTS), n);
}

static struct value make_range(struct draft *d)
{
	switch (below(6)) {
	case 0: case 1: return slotted(MAP_LENGTH, map_slot(d), 0);
	case 2: return slotted(MAP_LENGTH, map_slot(d), 0 - PAGE * below(16));
	case 3: return slotted(LENGTH, block_slot(d), 0);
	case 4: return number(PAGE * below(64));
	default: return number(some_length());
	}
}

static struct value make_bytes(struct draft *d, const struct arg *a)
{
	if (!strcmp(a->name, "length") && one_in(d->block < 0 ? 4 : 2))
		return slotted(LENGTH, block_slot(d),
			       one_in(2) ? 0 : PAGE * (below(64) - 32));
	if (!strcmp(a->name, "offset"))
		return number(one_in(2) ? 0 : PAGE * below(64));
	return number(one_in(8) ? a->usual : some_length());
}

static struct value make_offset(struct draft *d)
{
	switch (below(8)) {
	case 0: return number(0);
	case 1: return number(PAGE * below(512));
	case 2: return slotted(OFFSET, block_slot(d), PAGE * (below(64) - 32));
	case 3: return number((1ull << 30) + PAGE * below(1 << 15));
	default: return slotted(OFFSET, block_slot(d), 0);
	}
}

static uint64_t odd_size(uint64_t size)
{
	static const int more[] = { -8, -4, -1, 1, 4, 8, 16, 512 };

	if (one_in(3))
		return odd_number();
	if (one_in(4))
		return one_in(2) ? PAGE : PAGE + 1;
	return size + (uint64_t)(int64_t)more[below(8)];
}

/* One that mostly can succeed. */
static struct value make_fitting(struct draft *d, const struct arg *a)
{
	switch (a->kind) {
	case OLD_FD: return slotted(FD, (uint8_t)provide(d, NEW_FD, (enum type)a->hint), 0);
	case NEW_FD: case NEW_BLOCK: case NEW_MAP: return slotted(NUMBER, (uint8_t)below(SLOTS), 0);
	case PLACE: return slotted(RW, 0, 0);
	case POINTER: return slotted(RW, 0, 0x1000);
	case BLOCK_HANDLE: return slotted(HANDLE, block_slot(d), 0);
	case BYTES: return make_bytes(d, a);
	case ALIGNMENT: return number(one_in(2) ? 0 : 1ull << (10 + below(22)));
	case MAP_OFFSET: return make_offset(d);
	case ADDRESS: return make_address(d, false);
	case WHERE: return make_address(d, true);
	case RANGE: return d->range = make_range(d);
	case RANGE_AGAIN: return one_in(4) ? make_range(d) : d->range;
	case BITS: return number(one_in(2) ? a->usual : rnd() & a->hint);
	case CHOICE: return number(a->list[below(a->hint)]);
	case SMALL: return number(below(a->hint + 1));
	default: return number(a->usual);
	}
}

static struct value make_value(struct draft *d, const struct arg *a)
{
	bool slot = a->kind == NEW_FD || a->kind == NEW_BLOCK || a->kind == NEW_MAP;

	/* 1 in 100 for what else is right most of the time */
	if (slot || !one_in(a->kind == SIZE || a->kind == ZERO ? 100 : 25))
		return make_fitting(d, a);
	switch (a->kind) {
	case SIZE: return number(odd_size(a->usual));
	case PLACE: case POINTER: return odd_place(d, a->hint);
	case OLD_FD:
		return one_in(3) ? number(odd_number()) : slotted(FD, (uint8_t)below(SLOTS), 0);
	case BLOCK_HANDLE:
		return one_in(2) ? number(below(4) << 32 | below(64)) : number(odd_number());
	default: return number(odd_number());
	}
}

/* Adds a call, after those that make what it needs. */
static bool add_call(struct draft *d, unsigned int form)
{
	const struct form *f = &forms[form];
	struct call c = { .form = (uint8_t)form };

	for (unsigned int a = 0; f->args[a].kind; a++)
		c.args[a] = make_value(d, &f->args[a]);
	if (d->p->nr >= MAX_CALLS)
		return false;
	if (options.failing && one_in(30))
		c.fail = (uint8_t)(1 + below(12));
	d->p->calls[d->p->nr++] = c;
	return true;
}

static unsigned int some_form(void)
{
	static unsigned int sum;
	uint64_t at;

	if (!sum)
		for (unsigned int i = 0; i < nr_forms; i++)
			sum += forms[i].weight;
	at = below(sum);
	for (unsigned int i = 0;; i++) {
		if (at < forms[i].weight)
			return i;
		at -= forms[i].weight;
	}
}

static void add_some(struct program *p)
{
	struct draft d = { .p = p, .block = -1, .map = -1 };

	add_call(&d, some_form());
}

void program_make(struct program *p)
{
	unsigned int want = 3 + (unsigned int)below(MAX_CALLS - 4);

	memset(p, 0, sizeof(*p));
	while (p->nr < want)
		add_some(p);
	if (one_in(20))
		p->other = 1 + (uint32_t)below(p->nr);
}

void program_remove(struct program *p, unsigned int at)
{
	memmove(&p->calls[at], &p->calls[at + 1], (p->nr - at - 1) * sizeof(p->calls[0]));
	p->nr--;
	if (p->other > p->nr)
		p->other = p->nr;
}

/* A new call, with what it needs, before the call @at. */
static void insert_some(struct program *p, unsigned int at)
{
	struct program whole = *p;

	p->nr = at;
	add_some(p);
	while (at < whole.nr && p->nr < MAX_CALLS)
		p->calls[p->nr++] = whole.calls[at++];
}

/* The calls of @other from somewhere on, after the call @at. */
static void insert_part(struct program *p, const struct program *other, unsigned int at)
{
	struct program whole = *p;
	unsigned int from = (unsigned int)below(other->nr);
	unsigned int n = 1 + (unsigned int)below(other->nr - from);

	p->nr = at;
	for (unsigned int i = 0; i < n && p->nr < MAX_CALLS; i++)
		p->calls[p->nr++] = other->calls[from + i];
	while (at < whole.nr && p->nr < MAX_CALLS)
		p->calls[p->nr++] = whole.calls[at++];
}

static void alter_argument(struct program *p)
{
	unsigned int at = (unsigned int)below(p->nr), count = 0, which;
	struct program prefix = *p;
	struct draft d = { .p = &prefix, .block = -1, .map = -1, .depth = 9 };
	const struct form *f = &forms[p->calls[at].form];
	struct value *v;

	prefix.nr = at;		/* only what is there by then; nothing is added */
	while (f->args[count].kind)
		count++;
	which = (unsigned int)below(count);
	v = &p->calls[at].args[which];
	switch (below(4)) {
	case 0: v->n += one_in(2) ? 1 : PAGE; break;
	case 1: v->n -= one_in(2) ? 1 : PAGE; break;
	case 2: v->n ^= 1ull << below(one_in(4) ? 64 : 22); break;
	default: *v = make_value(&d, &f->args[which]);
	}
}

void program_alter(struct program *p, const struct program *other)
{
	for (uint64_t n = 1 + below(one_in(2) ? 3 : 12); n; n--) {
		unsigned int at = (unsigned int)below(p->nr);

		switch (below(10)) {
		case 0: case 1: case 2: insert_some(p, (unsigned int)below(p->nr + 1)); break;
		case 3: case 4: case 5: alter_argument(p); break;
		case 6: insert_part(p, other, (unsigned int)below(p->nr + 1)); break;
		case 7:
			if (p->nr > 1)
				program_remove(p, at);
			break;
		case 8:
			if (options.failing)
				p->calls[at].fail = (uint8_t)below(16);
			break;
		default: p->other = one_in(2) ? 0 : 1 + (uint32_t)below(p->nr);
		}
	}
}
