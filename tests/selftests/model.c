// SPDX-License-Identifier: MIT
/*
 * model.c - random calls, and a model of what they must do.
 *
 * Usage: model [SECONDS [SEED]]     (default 20, the time)
 *
 * Blocks of three open files are allocated, whole, scattered and alone, trimmed, grown,
 * shared and freed in a random order. They are mapped in all ways that there are:
 * whole and in part, by the node, a block fd and a dma-buf, at any address, moved
 * by mremap() with some of their pages present, forgotten by MADV_DONTNEED, seen
 * by a child. The model has what each page must hold, and what is in use; EXTENTS
 * and STATS must tell the same. In the end all memory is back, and zero.
 *
 * Needs root, the module with a region of about 64 MiB, so that it is full at times,
 * and nobody else who uses it. A seed repeats the calls as far as the region gives
 * the same answers, which depend on how fast memory comes back.
 */
#define _GNU_SOURCE
#include "harness.h"
#include "rnd.h"

#define UNIT	(2 * MIB)
#define FILES	3
#define BLOCKS	400
#define ENOUGH	10	/* failures, to end a run */

struct block {
	uint64_t handle;
	int file;
	int other;		/* its block fd or dma-buf, or -1 */
	bool scattered;
	bool alone;
	off_t offset;
	uint64_t length;
	uint64_t *pages;	/* the first word of each */
};

static int files[FILES];
static struct block blocks[BLOCKS];
static int count;
static uint64_t region;
static uint64_t in_use;		/* bytes, by the model */

/* What was done: a run that did nothing of a kind has shown nothing. */
enum deed {
	ALLOC, SCATTER, ALONE, NO_MEMORY, TRIM, GROW, SHARE, DMABUF, FREE,
	CLOSE, PART, MOVE, FORGET, CHILD, WRITE, DEEDS
};

static const char *const deed_names[DEEDS] = {
	"allocated", "scattered", "lies alone", "refused for lack of memory", "trimmed", "grown",
	"shared", "made a dma-buf", "freed", "lost its file", "mapped in part",
	"moved", "forgotten", "seen by a child", "written",
};

static unsigned long deeds[DEEDS];

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
}

/* What a block takes of the region. */
static uint64_t taken(const struct block *b)
{
	return b->alone ? (b->length + UNIT - 1) / UNIT * UNIT : b->length;
}

/* A mapping of a part of a block, or of all of it. */
struct view {
	const struct block *block;
	uint64_t first;		/* page of the block */
	uint64_t count;
	char *p;
	char *room;		/* of a view that was moved: what it lies in */
	uint64_t room_length;
};

/*
 * mremap() to an address that huge pages do not fit, with none, some or all of the
 * pages present: what was mapped huge must be split or mapped anew. Half of the time
 * its end is at a multiple of 2 MiB: where the last part of a scattered block ended a
 * unit, 7.3 then mapped all of that unit, with what others had there.
 */
static void view_move(struct view *v)
{
	uint64_t length = v->count * PAGE;
	char *to;

	if (one_in(2)) {
		for (uint64_t i = below(v->count); i < v->count; i += 1 + below(600))
			(void)*(volatile char *)(v->p + i * PAGE);
	}
	v->room_length = length + 2 * UNIT;
	v->room = mmap(NULL, v->room_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	to = (char *)(((uintptr_t)v->room + UNIT - 1) & ~(UNIT - 1));
	to += one_in(2) ? below(UNIT / PAGE) * PAGE : UNIT - length % UNIT;
	v->p = mremap(v->p, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	deeds[MOVE]++;
}

static bool view_open(struct view *v, const struct block *b, bool by_other, bool part)
{
	off_t at = by_other ? 0 : b->offset;

	*v = (struct view){ .block = b, .count = b->length / PAGE };
	if (part) {
		v->first = below(v->count);
		v->count = 1 + below(v->count - v->first);
		deeds[PART]++;
	}
	v->p = mmap(NULL, v->count * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    by_other ? b->other : files[b->file],
		    at + (off_t)(v->first * PAGE));
	if (v->p != MAP_FAILED && one_in(3))
		view_move(v);
	expect(v->p != MAP_FAILED);
	return v->p != MAP_FAILED;
}

static void view_close(struct view *v)
{
	expect(!munmap(v->p, v->count * PAGE));
	if (v->room)
		expect(!munmap(v->room, v->room_length));
}

/*
 * From the start, from anywhere and around, or backwards: the first fault, which may
 * bring more than its page, is not always that of the first page.
 */
static bool view_check(const struct view *v)
{
	const struct block *b = v->block;
	uint64_t start = one_in(3) ? below(v->count) : 0;
	uint64_t last = one_in(3) ? v->count - 1 : 0;

	for (uint64_t k = 0; k < v->count; k++) {
		uint64_t i = last ? last - k : (start + k) % v->count;
		uint64_t is = *(volatile uint64_t *)(v->p + i * PAGE);
		uint64_t wanted = b->pages[v->first + i];

		if (is == wanted)
			continue;
		if (tap_fail())
			printf("# page %llu of the %sblock at %llx holds %llx, not %llx\n",
			       (unsigned long long)(v->first + i),
			       b->scattered ? "scattered " : "",
			       (unsigned long long)b->offset, (unsigned long long)is,
			       (unsigned long long)wanted);
		return false;
	}
	return true;
}

/* No two pages ever hold the same, and none holds what it held before. */
static void view_write(struct view *v)
{
	static uint64_t stamp;

	for (uint64_t i = 0; i < v->count; i++) {
		*(volatile uint64_t *)(v->p + i * PAGE) = ++stamp;
		v->block->pages[v->first + i] = stamp;
	}
	deeds[WRITE]++;
}

/* The page table's entries go, and with them what they knew of writes. */
static void view_forget(const struct view *v)
{
	uint64_t first = below(v->count);
	uint64_t n = 1 + below(v->count - first);

	expect(!madvise(v->p + first * PAGE, n * PAGE, MADV_DONTNEED));
	deeds[FORGET]++;
}

static void view_show_child(const struct view *v)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(view_check(v) ? 0 : 1);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
	deeds[CHILD]++;
}

/* Maps @b by the node, or by its other descriptor, and does this and that to it. */
static void look(const struct block *b, bool by_other, bool writes)
{
	struct view v;

	if (!view_open(&v, b, by_other, one_in(3)))
		return;
	if (one_in(4))
		view_forget(&v);
	view_check(&v);
	if (writes)
		view_write(&v);
	if (one_in(4)) {
		view_forget(&v);
		/* else it goes with nothing mapped where it was written */
		if (one_in(2))
			view_check(&v);
	}
	if (one_in(6))
		view_show_child(&v);
	view_close(&v);
}

/* Every page of it: what look() did not see does not get lost. */
static void look_at_all(const struct block *b, bool by_other)
{
	struct view v;

	if (!view_open(&v, b, by_other, false))
		return;
	view_check(&v);
	view_close(&v);
}

static int share(const struct block *b, unsigned long command)
{
	return share_block(files[b->file], command, b->handle, 0);
}

/* By a block fd, whose reference to the block is gone with its close(). */
static bool is_scattered(const struct block *b)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	int block = share(b, BUDDY_IOC_SHARE);

	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), 0);
	expect_eq(info.out_length, b->length);
	close(block);
	return !(info.out_features & BUDDY_FEATURE_CONTIGUOUS);
}

/* Small ones, up to a unit, whole units, and several with a tail. */
static uint64_t any_length(void)
{
	switch (rnd() % 4) {
	case 0:
		return PAGE * (1 + below(8));
	case 1:
		return PAGE * (1 + below(511));
	case 2:
		return UNIT * (1 + below(4));
	default:
		return PAGE * (1 + below(3000));
	}
}

static void try_alloc(void)
{
	struct buddy_alloc a = { .size = sizeof(a), .length = any_length() };
	struct block *b = &blocks[count];
	int file = (int)below(FILES), err;

	if (one_in(2))
		a.flags = BUDDY_ALLOC_SCATTER;
	else if (one_in(8))
		a.flags = BUDDY_ALLOC_POW2;
	/*
	 * All whole units that there are; the rest, which often fills a node of the
	 * tree, must lie among small blocks.
	 */
	if (a.flags == BUDDY_ALLOC_SCATTER && one_in(4))
		a.length = get_stats(files[0]).out_free +
			   (one_in(3) ? PAGE * (1 + below(511)) : PAGE << below(9));
	if (one_in(6))
		a.flags |= BUDDY_ALLOC_ALONE;
	if (a.length > region)
		a.length = region;
	err = call(files[file], BUDDY_IOC_ALLOC, &a);
	if (err) {
		expect_eq(err, -ENOMEM);
		deeds[NO_MEMORY]++;
		return;
	}
	expect(a.out_length >= a.length && a.out_length % PAGE == 0);
	*b = (struct block){
		.handle = a.out_handle,
		.file = file,
		.other = -1,
		.offset = (off_t)a.out_offset,
		.length = a.out_length,
		.pages = calloc(a.out_length / PAGE, sizeof(*b->pages)),
	};
	b->scattered = is_scattered(b);
	b->alone = a.flags & BUDDY_ALLOC_ALONE;
	expect(b->scattered ? a.flags & BUDDY_ALLOC_SCATTER : is_placed(&a));
	expect(!b->alone || b->offset % UNIT == 0);
	deeds[b->scattered ? SCATTER : b->alone ? ALONE : ALLOC]++;
	in_use += taken(b);
	count++;
	/* the others are never mapped, or later */
	if (!one_in(3))
		look(b, false, !one_in(4));
}

/* The block has @length now; what is new is zero. */
static void set_length(struct block *b, uint64_t length)
{
	uint64_t old = b->length / PAGE, new = length / PAGE;

	b->pages = realloc(b->pages, new * sizeof(*b->pages));
	for (uint64_t i = old; i < new; i++)
		b->pages[i] = 0;
	in_use -= taken(b);
	b->length = length;
	in_use += taken(b);
}

static void try_trim(struct block *b)
{
	uint64_t length = PAGE * (1 + below(b->length / PAGE));
	int err;

	if (one_in(3) && b->length > UNIT)
		length = b->length / UNIT * UNIT;
	err = resize(files[b->file], BUDDY_IOC_TRIM, b->handle, length);
	if (b->other >= 0) {
		expect_eq(err, -EBUSY);
	} else {
		expect_eq(err, 0);
		set_length(b, length);
		deeds[TRIM]++;
	}
}

static void try_grow(struct block *b)
{
	uint64_t more = one_in(2) ? 1 + below(40) : below(2000);
	uint64_t length = b->length + PAGE * more;
	int err = resize(files[b->file], BUDDY_IOC_GROW, b->handle, length);

	if (b->scattered || b->alone || b->other >= 0) {
		expect(err == -EFBIG || err == (b->other >= 0 ? -EBUSY : -EOPNOTSUPP));
		return;
	}
	if (err) {
		expect(err == -EFBIG || err == -ENOMEM);
		return;
	}
	set_length(b, length);
	deeds[GROW]++;
	/* else it is freed, or grows again, with its end never mapped */
	if (!one_in(4)) {
		look_at_all(b, false);
		look(b, false, !one_in(4));
	}
}

/* A block has one other descriptor, or none. */
static void try_share(struct block *b)
{
	bool dmabuf = one_in(2);

	if (b->other >= 0) {
		close(b->other);
		b->other = -1;
	} else if (one_in(2)) {
		b->other = share(b, dmabuf ? BUDDY_IOC_DMABUF : BUDDY_IOC_SHARE);
		expect(b->other >= 0);
		deeds[dmabuf ? DMABUF : SHARE]++;
		if (b->other >= 0)
			look(b, true, true);
	}
	look(b, false, one_in(2));
}

/* Its handle is no more, or no matter: what it still has is its other descriptor. */
static void forsake(struct block *b, enum deed deed)
{
	if (b->other >= 0) {
		look(b, true, one_in(2));
		look_at_all(b, true);
		close(b->other);
	}
	deeds[deed]++;
	in_use -= taken(b);
	free(b->pages);
	*b = blocks[--count];
}

static void try_free(struct block *b)
{
	if (one_in(2))
		look_at_all(b, false);
	expect_eq(free_block(files[b->file], b->handle), 0);
	forsake(b, FREE);
}

/* A file goes with all its blocks, which makes room for others to grow. */
static void try_close(void)
{
	int file = (int)below(FILES);

	close(files[file]);
	files[file] = device_open();
	/* the last one takes the place of one that is forsaken */
	for (int i = count - 1; i >= 0; i--)
		if (blocks[i].file == file)
			forsake(&blocks[i], CLOSE);
}

/* Blocks that lie alone, in one range: it is an extent of just the units that they take. */
static void check_alone(const struct buddy_extent_entry *e, uint32_t entries)
{
	for (const struct block *b = blocks; b < blocks + count; b++) {
		uint32_t i = 0;

		if (!b->alone || b->scattered)
			continue;
		while (i < entries && (off_t)(e[i].offset + 1024 * MIB) != b->offset)
			i++;
		expect(i < entries && e[i].length == taken(b) &&
		       e[i].state == BUDDY_EXTENT_USED);
	}
}

/* EXTENTS against STATS, and STATS against the model. */
static void check_accounts(void)
{
	uint64_t entries = region / PAGE, at = 0, used = 0;
	struct buddy_extent_entry *e = calloc(entries, sizeof(*e));
	uint64_t sums[BUDDY_EXTENT_PRIVATE + 1] = { 0 };
	struct buddy_stats s = settled_stats(files[0], 0);
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = (uint32_t)entries,
	};

	expect_eq(call(files[0], BUDDY_IOC_EXTENTS, &x), 0);
	expect_eq(x.out_next, region);
	for (uint32_t i = 0; i < x.out_count; i++) {
		expect_eq(e[i].offset, at);
		expect(e[i].state <= BUDDY_EXTENT_PRIVATE);
		if (e[i].state > BUDDY_EXTENT_PRIVATE)
			break;
		at = e[i].offset + e[i].length;
		sums[e[i].state] += e[i].length;
		used += e[i].state == BUDDY_EXTENT_USED;
	}
	expect_eq(at, s.out_region);
	expect_eq(sums[BUDDY_EXTENT_FREE], s.out_free);
	expect_eq(sums[BUDDY_EXTENT_USED], s.out_used);
	expect_eq(sums[BUDDY_EXTENT_RETURNING], s.out_returning);
	expect_eq(sums[BUDDY_EXTENT_QUARANTINED], s.out_quarantined);
	expect_eq(sums[BUDDY_EXTENT_RESERVED], s.out_reserved);
	expect_eq(sums[BUDDY_EXTENT_PRIVATE], s.out_private);
	/* whole units and a tail are two extents of one block */
	expect(used >= s.out_blocks);
	expect_eq(s.out_blocks, count);
	expect_eq(s.out_used, in_use);
	check_alone(e, x.out_count);
	free(e);
}

static void step(void)
{
	uint64_t kind = below(10);
	struct block *b;

	if (one_in(300)) {
		try_close();
	} else if (kind < 4) {
		if (count < BLOCKS)
			try_alloc();
	} else if (count) {
		b = &blocks[below((uint64_t)count)];
		if (kind < 6)
			try_trim(b);
		else if (kind < 8)
			try_grow(b);
		else if (kind < 9)
			try_share(b);
		else
			try_free(b);
	}
}

/* What is left is as it was; then there is nothing of it anywhere. */
static void end_all(void)
{
	struct buddy_alloc all;
	char *p;

	while (count) {
		look_at_all(&blocks[0], false);
		forsake(&blocks[0], CLOSE);
	}
	for (int i = 0; i < FILES; i++)
		close(files[i]);
	expect_empty();
	files[0] = device_open();
	expect_eq(alloc_block(files[0], region, &all), 0);
	p = map_block(files[0], &all);
	expect(p != MAP_FAILED && is_zero(p, region));
	close(files[0]);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 20;
	unsigned long steps = 0;
	double end = now() + seconds;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) | 1;
	/* a child must find nothing in the buffer that it prints again */
	setlinebuf(stdout);
	printf("1..1\n# %d s, seed %llu\n", seconds, (unsigned long long)seed);
	for (int i = 0; i < FILES; i++)
		files[i] = device_open();
	region = get_stats(files[0]).out_region;
	for (; now() < end && tap_failures < ENOUGH; steps++) {
		step();
		if (steps % 16 == 0)
			check_accounts();
	}
	end_all();
	printf("# %lu steps\n", steps);
	for (int i = 0; i < DEEDS; i++) {
		printf("# %lu %s\n", deeds[i], deed_names[i]);
		expect(deeds[i] > 0);
	}
	printf("%sok 1 - model: every call did what it had to, and nothing else\n",
	       tap_failures ? "not " : "");
	return tap_failures ? 1 : 0;
}
