// SPDX-License-Identifier: MIT
/*
 * alone_test.c - ALONE: blocks that have their 2 MiB units for themselves, to be shared with
 * processes that are not trusted. Needs root and the module.
 */
#define _GNU_SOURCE
#include "ktest.h"
#include "rnd.h"

#define UNIT	(2 * MIB)
#define UNITS	64		/* at most, of the region */
#define ALONE	BUDDY_ALLOC_ALONE
#define BASE	(1024 * MIB)	/* the offset of the first page of the region */

static uint64_t whole(uint64_t length)
{
	return (length + UNIT - 1) / UNIT * UNIT;
}

static void expect_used(uint64_t used, uint64_t private)
{
	struct buddy_stats s = settled_stats(fd, 0);

	expect_eq(s.out_used, used);
	expect_eq(s.out_private, private);
	expect_eq(s.out_free, region - used - private);
}

/* A mapping of a block fd, or an errno. */
static int try_map(int block, uint64_t length, uint64_t at)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, block, (off_t)at);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

static int share_fd(const struct buddy_alloc *a)
{
	return share_block(fd, BUDDY_IOC_SHARE, a->out_handle, 0);
}

/* All that was free was zero. */
static void expect_region_zero(void)
{
	struct buddy_alloc all;
	char *p;

	expect_eq(alloc_block(fd, region, &all), 0);
	p = map_block(fd, &all);
	expect(is_zero(p, region));
	munmap(p, region);
	expect_eq(free_block(fd, all.out_handle), 0);
}

/*
 * Where it lies
 */

TEST_F(device, a_page_takes_a_unit)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	struct buddy_extent_entry e[2];
	struct buddy_alloc a;
	int block;

	expect_eq(alone_block(fd, PAGE, &a), 0);
	expect_eq(a.out_length, PAGE);
	expect_eq(a.out_offset % UNIT, 0);
	expect_used(UNIT, 0);
	expect_eq(read_extents(fd, e, 2), 2);
	expect_eq(e[0].offset, a.out_offset - BASE);
	expect_eq(e[0].length, UNIT);
	expect_eq(e[0].state, BUDDY_EXTENT_USED);
	block = share_fd(&a);
	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), 0);
	expect_eq(info.out_length, PAGE);
	expect(info.out_features & BUDDY_FEATURE_CONTIGUOUS);
	/* what it has beyond its length cannot be reached */
	expect_eq(try_map(fd, PAGE, a.out_offset), 0);
	expect_eq(try_map(fd, 2 * PAGE, a.out_offset), -ENXIO);
	expect_eq(try_map(fd, PAGE, a.out_offset + PAGE), -ENXIO);
	expect_eq(try_map(block, PAGE, 0), 0);
	expect_eq(try_map(block, 2 * PAGE, 0), -ENXIO);
	expect_eq(try_map(block, PAGE, PAGE), -ENXIO);
	close(block);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* What a process asks for beside blocks that lie alone. */
struct placed {
	struct buddy_alloc a;
	bool alone;
};

static uint64_t last_unit(const struct buddy_alloc *a)
{
	return (a->out_offset + a->out_length - 1) / UNIT;
}

static bool share_a_unit(const struct buddy_alloc *a, const struct buddy_alloc *b)
{
	return a->out_offset / UNIT <= last_unit(b) && b->out_offset / UNIT <= last_unit(a);
}

static void expect_apart(const struct placed *all, int count)
{
	for (int i = 0; i < count; i++)
		for (int j = 0; j < i; j++)
			expect(!((all[i].alone || all[j].alone) &&
				 share_a_unit(&all[i].a, &all[j].a)));
}

/* Small blocks and ends of blocks of the same open file, and those of a child there. */
TEST_F(device, shares_no_unit)
{
	static const uint64_t alone[] = { PAGE, UNIT + PAGE, 3 * PAGE, UNIT, 2 * UNIT - PAGE };
	static const uint64_t other[] = { PAGE, UNIT + 7 * PAGE, 100 * PAGE, 511 * PAGE, 40 * PAGE };
	enum { EACH = 5, ALL = 3 * EACH };
	struct placed *all = mmap(NULL, ALL * sizeof(*all), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t used = 0;
	int status = -1;
	pid_t pid;

	for (int i = 0; i < EACH; i++) {
		expect_eq(alone_block(fd, alone[i], &all[2 * i].a), 0);
		all[2 * i].alone = true;
		expect_eq(alloc_block(fd, other[i], &all[2 * i + 1].a), 0);
		used += whole(alone[i]) + other[i];
	}
	pid = fork();
	if (!pid) {
		for (int i = 0; i < EACH; i++)
			if (alloc_block(fd, 30 * PAGE, &all[2 * EACH + i].a))
				_exit(1);
		_exit(0);
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
	expect_apart(all, ALL);
	expect_eq(get_stats(fd).out_used, used + EACH * 30 * PAGE);
	for (int i = 0; i < ALL; i++)
		expect_eq(free_block(fd, all[i].a.out_handle), 0);
	munmap(all, ALL * sizeof(*all));
	expect(wait_free(fd, region, 5));
}

/* With TRIM and FREE in between, at random. */
TEST_F(device, never_shares_a_unit)
{
	enum { MOST = 24 };
	struct placed all[MOST];
	uint64_t used = 0;
	int count = 0;

	seed = 7;
	for (int step = 0; step < 600 && !has_failed(); step++) {
		struct placed *p = &all[count];
		uint64_t k = rnd() % 4;

		if (count && (k == 0 || count == MOST)) {
			p = &all[rnd() % (uint64_t)count];
			used -= p->alone ? whole(p->a.out_length) : p->a.out_length;
			expect_eq(free_block(fd, p->a.out_handle), 0);
			*p = all[--count];
		} else if (count && k == 1) {
			p = &all[rnd() % (uint64_t)count];
			used -= p->alone ? whole(p->a.out_length) : p->a.out_length;
			p->a.out_length = PAGE * (1 + rnd() % (p->a.out_length / PAGE));
			used += p->alone ? whole(p->a.out_length) : p->a.out_length;
			expect_eq(resize(fd, BUDDY_IOC_TRIM, p->a.out_handle, p->a.out_length), 0);
		} else {
			p->alone = rnd() % 2;
			if (alloc_flagged(fd, PAGE * (1 + rnd() % 1300), p->alone ? ALONE : 0,
					  &p->a))
				continue;
			used += p->alone ? whole(p->a.out_length) : p->a.out_length;
			count++;
		}
		expect_apart(all, count);
		expect_eq(get_stats(fd).out_used, used);
	}
	while (count)
		expect_eq(free_block(fd, all[--count].a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, with_a_power_of_two)
{
	struct buddy_alloc small, large, between;

	expect_eq(alone_block(fd, PAGE, &between), 0);
	expect_eq(alloc_flagged(fd, 3 * PAGE, ALONE | BUDDY_ALLOC_POW2, &small), 0);
	expect_eq(small.out_length, 4 * PAGE);
	expect_eq(small.out_offset % UNIT, 0);
	expect_eq(alloc_flagged(fd, 3 * MIB, ALONE | BUDDY_ALLOC_POW2, &large), 0);
	expect_eq(large.out_length, 4 * MIB);
	expect_eq(large.out_offset % (4 * MIB), 0);
	expect_used(2 * UNIT + 4 * MIB, 0);
	expect_eq(free_block(fd, between.out_handle), 0);
	expect_eq(free_block(fd, small.out_handle), 0);
	expect_eq(free_block(fd, large.out_handle), 0);
}

DEVICE_FIXTURE(alignment) {
	uint64_t align;
};

#define ALIGNMENT(_name, _align)	FIXTURE_VARIANT_ADD(alignment, _name) { .align = _align }

ALIGNMENT(page, PAGE);
ALIGNMENT(mib, MIB);
ALIGNMENT(unit, UNIT);
ALIGNMENT(units_4, 4 * UNIT);

TEST_F(alignment, is_kept)
{
	struct buddy_alloc between, a = {
		.size = sizeof(a), .length = UNIT + PAGE, .flags = ALONE,
		.align = variant->align,
	};

	expect_eq(alone_block(fd, PAGE, &between), 0);
	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.out_length, UNIT + PAGE);
	expect_eq(a.out_offset % variant->align, 0);
	expect_eq(a.out_offset % UNIT, 0);
	expect_used(3 * UNIT, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, between.out_handle), 0);
}

TEST_F(device, mmap_at_offset_0_makes_none)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	expect(p != MAP_FAILED);
	expect_used(PAGE, UNIT - PAGE);
	munmap(p, PAGE);
}

/* The whole units by huge pages, the last one by as many pages as the block has there. */
TEST_F(device, a_mapping)
{
	struct buddy_alloc a;
	char *p;

	expect_eq(alone_block(fd, 2 * UNIT + 3 * PAGE, &a), 0);
	p = map_skewed(fd, &a, 0);
	expect(p != MAP_FAILED);
	expect(is_zero(p, a.out_length));
	mark_pages(p, a.out_length, 9);
	expect_eq(smaps(p, "Rss"), a.out_length / 1024);
	expect_eq(smaps(p, "FilePmdMapped"), is_huge(fd) ? 2 * UNIT / 1024 : 0);
	expect(mremap(p, a.out_length, a.out_length + PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	munmap(p, a.out_length);
	/* to where no huge page fits */
	p = map_skewed(fd, &a, 5 * PAGE);
	expect(are_marked(p, a.out_length, 9));
	munmap(p, a.out_length);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/*
 * Another length
 */

/* What is trimmed is free and zero by units; the rest of the last one is the block's. */
TEST_F(device, trim_frees_whole_units)
{
	static const uint64_t keep[] = {
		4 * UNIT + 3 * PAGE, 4 * UNIT + PAGE, 4 * UNIT, 4 * UNIT - PAGE, 3 * UNIT + PAGE,
		2 * UNIT, UNIT + MIB, UNIT, 7 * PAGE, PAGE,
	};
	struct buddy_alloc a, small, all;
	char *p;

	expect_eq(alone_block(fd, 5 * UNIT - PAGE, &a), 0);
	p = map_block(fd, &a);
	mark_pages(p, a.out_length, 77);
	munmap(p, a.out_length);
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++) {
		int block;

		a.out_length = keep[i];
		expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, keep[i]), 0);
		expect_used(whole(keep[i]), 0);
		/* others get what is free, and all of it is zero */
		expect_eq(alloc_block(fd, PAGE, &small), 0);
		expect_eq(scatter_block(fd, region - whole(keep[i]) - UNIT, &all), 0);
		p = map_block(fd, &all);
		expect(is_zero(p, all.out_length));
		munmap(p, all.out_length);
		expect_eq(free_block(fd, all.out_handle), 0);
		expect(small.out_offset >= a.out_offset + whole(keep[i]) ||
		       small.out_offset + PAGE <= a.out_offset);
		expect_eq(free_block(fd, small.out_handle), 0);
		/* a block fd of it has the new length */
		block = share_fd(&a);
		p = mmap(NULL, keep[i], PROT_READ | PROT_WRITE, MAP_SHARED, block, 0);
		expect(p != MAP_FAILED && are_marked(p, keep[i], 77));
		munmap(p, keep[i]);
		expect_eq(try_map(block, keep[i] + PAGE, 0), -ENXIO);
		expect_eq(try_map(block, PAGE, keep[i]), -ENXIO);
		expect_eq(try_map(fd, PAGE, a.out_offset + keep[i]), -ENXIO);
		close(block);
	}
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
	/* what was in the rest of its last unit is gone, too */
	expect_region_zero();
}

/* Its mappings are a block fd's alone: handle and file are gone. */
TEST_F(device, outlives_its_file)
{
	int own = device_open(), keep = fd, block;
	struct buddy_alloc a;
	char *p;

	expect_eq(alone_block(own, UNIT + 9 * PAGE, &a), 0);
	expect_eq(resize(own, BUDDY_IOC_TRIM, a.out_handle, 5 * PAGE), 0);
	fd = own;
	block = share_fd(&a);
	fd = keep;
	close(own);
	expect_eq(settled_stats(fd, 0).out_used, UNIT);
	p = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, block, 0);
	close(block);
	mark_pages(p, 5 * PAGE, 3);
	expect(are_marked(p, 5 * PAGE, 3));
	munmap(p, 5 * PAGE);
	expect(wait_free(fd, region, 5));
	expect_region_zero();
}

/* Of a block of 3 pages that lies alone. */
DEVICE_FIXTURE(refused) {
	unsigned long command;
	uint64_t length;
	bool mapped;
	int error;
};

#define REFUSED(_command, _name, _length, _mapped, _error)		\
	FIXTURE_VARIANT_ADD(refused, _command##_##_name) {		\
		.command = BUDDY_IOC_##_command,			\
		.length = _length,					\
		.mapped = _mapped,					\
		.error = -(_error),					\
	}

REFUSED(GROW, within_its_unit, 4 * PAGE, false, EOPNOTSUPP);
REFUSED(GROW, to_its_unit, UNIT, false, EOPNOTSUPP);
REFUSED(GROW, beyond_its_unit, 2 * UNIT, false, EOPNOTSUPP);
REFUSED(GROW, not_at_all, 3 * PAGE, false, EOPNOTSUPP);
REFUSED(GROW, mapped, 4 * PAGE, true, EBUSY);
REFUSED(GROW, above_the_region, 1ull << 62, false, EFBIG);
REFUSED(TRIM, longer, 4 * PAGE, false, EINVAL);
REFUSED(TRIM, to_its_unit, UNIT, false, EINVAL);
REFUSED(TRIM, mapped, PAGE, true, EBUSY);
REFUSED(TRIM, to_nothing, 0, false, EINVAL);

TEST_F(refused, and_nothing_changes)
{
	struct buddy_alloc a;
	void *p = NULL;

	expect_eq(alone_block(fd, 3 * PAGE, &a), 0);
	if (variant->mapped)
		p = map_block(fd, &a);
	expect_eq(resize(fd, variant->command, a.out_handle, variant->length), variant->error);
	if (p)
		munmap(p, a.out_length);
	expect_used(UNIT, 0);
	expect_eq(try_map(fd, 3 * PAGE, a.out_offset), 0);
	expect_eq(try_map(fd, 4 * PAGE, a.out_offset), -ENXIO);
	expect_eq(free_block(fd, a.out_handle), 0);
}

/*
 * Of several ranges, and none
 */

/* Every second unit of the region is in use. */
static struct buddy_alloc fence[UNITS];

static void fence_up(void)
{
	for (uint64_t i = 0; i < region / UNIT; i++)
		expect_eq(alloc_block(fd, UNIT, &fence[i]), 0);
	for (uint64_t i = 0; i < region / UNIT; i += 2)
		expect_eq(free_block(fd, fence[i].out_handle), 0);
	expect(wait_free(fd, region / 2, 20));
}

static void fence_down(void)
{
	for (uint64_t i = 1; i < region / UNIT; i += 2)
		expect_eq(free_block(fd, fence[i].out_handle), 0);
	expect(wait_free(fd, region, 20));
}

TEST_F(device, scattered)
{
	const uint32_t flags = ALONE | BUDDY_ALLOC_SCATTER;
	uint64_t length = 4 * UNIT - 5 * PAGE;
	struct buddy_alloc a, small;
	char *p;

	fence_up();
	/* a split unit with room for the rest: a block that lies alone takes none of it */
	expect_eq(alloc_block(fd, PAGE, &small), 0);
	expect_eq(alloc_flagged(fd, length, ALONE, &a), -ENOMEM);
	expect_eq(alloc_flagged(fd, length, flags, &a), 0);
	expect_eq(a.out_length, length);
	expect_eq(a.out_offset % UNIT, 0);
	expect_used(region / 2 + 4 * UNIT + PAGE, UNIT - PAGE);
	p = map_skewed(fd, &a, 0);
	expect(is_zero(p, length));
	mark_pages(p, length, 12);
	expect_eq(smaps(p, "Rss"), length / 1024);
	/* with a part of a unit at its end, the last one is mapped by pages */
	expect_eq(smaps(p, "FilePmdMapped"), is_huge(fd) ? 3 * UNIT / 1024 : 0);
	munmap(p, length);
	expect_eq(try_map(fd, PAGE, a.out_offset + length), -ENXIO);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, length + PAGE), -EOPNOTSUPP);
	for (uint64_t keep = length - PAGE; keep > UNIT; keep -= 3 * MIB) {
		expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, keep), 0);
		expect_used(region / 2 + whole(keep) + PAGE, UNIT - PAGE);
		a.out_length = keep;
		p = map_block(fd, &a);
		expect(are_marked(p, keep, 12));
		munmap(p, keep);
		expect_eq(try_map(fd, PAGE, a.out_offset + keep), -ENXIO);
	}
	expect_eq(free_block(fd, a.out_handle), 0);
	/* full is full: by units, whatever is free in a split one */
	expect(wait_free(fd, region / 2 - UNIT, 20));
	expect_eq(alloc_flagged(fd, region / 2 - UNIT + PAGE, flags, &a), -ENOMEM);
	expect_eq(a.out_free, region / 2 - UNIT);
	expect_eq(alloc_flagged(fd, region / 2 - UNIT - PAGE, flags, &a), 0);
	expect_used(region - UNIT + PAGE, UNIT - PAGE);
	p = map_block(fd, &a);
	expect(is_zero(p, a.out_length));
	munmap(p, a.out_length);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, small.out_handle), 0);
	fence_down();
}

/* Room in a split unit is none for it, and the reply says so. */
TEST_F(device, no_unit_is_free)
{
	struct buddy_batch_entry entries[2] = {
		{ .op = BUDDY_BATCH_ALLOC, .length = PAGE },
		{ .op = BUDDY_BATCH_ALLOC, .length = PAGE, .flags = ALONE },
	};
	struct buddy_batch b = {
		.size = sizeof(b),
		.entries = (uintptr_t)entries,
		.count = 2,
		.entry_size = sizeof(entries[0]),
	};
	struct buddy_alloc rest, small, a;

	expect_eq(alloc_block(fd, region - UNIT, &rest), 0);
	expect_eq(alloc_block(fd, PAGE, &small), 0);
	expect_eq(alone_block(fd, PAGE, &a), -ENOMEM);
	expect_eq(a.out_free, 0);
	expect_eq(a.out_largest, 0);
	expect_eq(a.out_returning, 0);
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), -ENOMEM);
	expect_eq(b.out_done, 1);
	expect_eq(b.out_free, 0);
	expect_eq(b.out_largest, 0);
	expect_eq(free_block(fd, entries[0].handle), 0);
	/* any other block gets it */
	expect_eq(alloc_block(fd, UNIT / 2, &a), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, small.out_handle), 0);
	expect_eq(alone_block(fd, UNIT, &a), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, rest.out_handle), 0);
}

/* An allocation waits for a unit in which the last small block was freed. */
TEST_F(device, waits_for_a_unit)
{
	struct buddy_alloc rest, small, a;
	char *p;

	expect_eq(alloc_block(fd, region - UNIT, &rest), 0);
	for (int i = 0; i < 20; i++) {
		expect_eq(alloc_block(fd, MIB, &small), 0);
		p = map_block(fd, &small);
		fill(p, 1, MIB);
		munmap(p, MIB);
		expect_eq(free_block(fd, small.out_handle), 0);
		expect_eq(alone_block(fd, PAGE, &a), 0);
		p = map_block(fd, &a);
		expect(is_zero(p, PAGE));
		fill(p, 2, PAGE);
		munmap(p, PAGE);
		expect_eq(free_block(fd, a.out_handle), 0);
	}
	expect_eq(free_block(fd, rest.out_handle), 0);
}

TEST_HARNESS_MAIN
