// SPDX-License-Identifier: MIT
/*
 * capacity.c - how much of the device's region is used when blocks come and go at
 * random (tests/core/churn.h), with an oracle for each refusal (tests/core/room.h).
 *
 *   make bench-capacity [KERNEL=6.12]       the table, 60,000 operations a stream
 *   capacity --test | --json | --stream PART-OF-A-NAME --operations N --seed N
 *
 * Needs root, the module with a region of a multiple of 2 MiB, and no other user of it;
 * the floors of --test are for 1 GiB. Blocks are never touched, so what is freed is free
 * at once. Scattered blocks of 2 MiB and more are touched where the device has huge
 * pages, because it is counted how they are mapped; their memory is waited for.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "harness.h"
#include "churn_report.h"

#define UNIT	(2 * MIB)

#define ANY		CHURN_ANY
#define POW2		BUDDY_ALLOC_POW2
#define SCATTER		BUDDY_ALLOC_SCATTER

/*
 * Floors of --test, for 60,000 operations in 1 GiB, on all kernels. Lengths of 64 KiB to
 * 64 MiB need a larger region for more: tests/lib/capacity.c has one of 16 GiB.
 *
 * lengths, load, the shortest in pages, flags, owners, exact ones before;
 * average, first refusal, refusals, grown, mapped huge
 */
static const struct churn_row rows[] = {
	{ { "exact, 4 KiB-4 MiB", 0.80, 1, 0, 1, false }, { 79.9, 79, 0, 99, 0 } },
	{ { "exact, 4 KiB-4 MiB", 0.95, 1, 0, 1, false }, { 84, 94, ANY, 99, 0 } },
	{ { "exact, 64 KiB-64 MiB", 0.95, 16, 0, 1, false }, { 75, 93, ANY, 99, 0 } },
	{ { "exact, 4 KiB-4 MiB, 8 owners", 0.95, 1, 0, 8, false }, { 79, 93, ANY, 99, 0 } },
	{ { "POW2, 4 KiB-4 MiB", 0.95, 1, POW2, 1, false }, { 94, 94, ANY, 0, 0 } },
	{ { "POW2, 4 KiB-4 MiB, after exact", 0.95, 1, POW2, 1, true }, { 86, 52, ANY, 0, 0 } },
	{ { "scattered, 4 KiB-4 MiB", 0.80, 1, SCATTER, 1, false }, { 79.9, 79, 0, 0, 99 } },
	{ { "scattered, 4 KiB-4 MiB", 0.90, 1, SCATTER, 1, false }, { 89.9, 89, 0, 0, 99 } },
	{ { "scattered, 4 KiB-4 MiB", 0.95, 1, SCATTER, 1, false }, { 94.9, 94, 0, 0, 40 } },
};

static int fds[CHURN_OWNERS];
static uint64_t base;		/* out_offset of a block at the start of the region */
static uint64_t largest;	/* out_largest of the last refusal */
static bool dirty;		/* something was touched, and must be waited for */

static int device_alloc(int owner, struct churn_block *block, uint32_t flags)
{
	struct buddy_alloc a = { .size = sizeof(a), .length = (uint64_t)block->pages * PAGE,
				 .flags = flags };
	int err = call(fds[owner], BUDDY_IOC_ALLOC, &a);

	if (err) {
		largest = a.out_largest;
		return err;
	}
	block->handle = a.out_handle;
	block->offset = a.out_offset;
	if (!(flags & BUDDY_ALLOC_SCATTER))
		block->first = (uint32_t)((a.out_offset - base) / PAGE);
	return 0;
}

static uint32_t largest_pages(void)
{
	return (uint32_t)(largest / PAGE);
}

static uint32_t free_units(uint32_t *private_pages)
{
	struct buddy_stats s = get_stats(fds[0]);

	*private_pages = (uint32_t)(s.out_private / PAGE);
	return (uint32_t)(s.out_free / UNIT);
}

static uint64_t reclaiming(void)
{
	struct buddy_stats s = get_stats(fds[0]);

	return s.out_returning + s.out_quarantined;
}

static void device_free(int owner, struct churn_block *block)
{
	expect_eq(free_block(fds[owner], block->handle), 0);
	while (dirty && block->pages >= ROOM_UNIT && reclaiming())
		sched_yield();
}

/* KiB of this process's files that are mapped by huge pages: of its one mapped block. */
static long huge_kib(void)
{
	char text[2048] = "", *line;
	int file = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = read(file, text, sizeof(text) - 1);

	close(file);
	line = n > 0 ? strstr(text, "FilePmdMapped:") : NULL;
	expect(line);
	return line ? strtol(line + strlen("FilePmdMapped:"), NULL, 10) : 0;
}

/* Touches each 2 MiB of addresses that a huge page could map. */
static uint32_t huge_units(int owner, const struct churn_block *block)
{
	uint64_t length = (uint64_t)block->pages * PAGE;
	char *p = mmap(NULL, length, PROT_READ, MAP_SHARED, fds[owner], (off_t)block->offset);
	uintptr_t start = (uintptr_t)p, first = (start + UNIT - 1) / UNIT * UNIT;
	uint32_t units;

	expect(p != MAP_FAILED);
	if (p == MAP_FAILED)
		return 0;
	for (uintptr_t at = first; at + UNIT <= start + length; at += UNIT)
		(void)*(volatile char *)at;
	units = (uint32_t)(huge_kib() * 1024 / (long)UNIT);
	munmap(p, length);
	dirty = true;
	return units;
}

/*
 * A unit is split if it has a part of a block, and its free pages are private to this
 * process, which has opened all files. Units that are free have none.
 */
static bool is_split_right(const struct room *room, const struct buddy_extent_entry *e)
{
	uint64_t first = e->offset / UNIT, end = (e->offset + e->length + UNIT - 1) / UNIT;

	if (e->state == BUDDY_EXTENT_PRIVATE)
		return e->pid == getpid() && room->parts[first];
	for (uint64_t u = first; e->state == BUDDY_EXTENT_FREE && u < end; u++)
		if (room->parts[u])
			return false;
	return true;
}

static bool agrees(const struct room *room)
{
	static struct buddy_extent_entry entries[1024];
	struct buddy_extents x = { .size = sizeof(x), .entries = (uintptr_t)entries, .count = 1024 };

	for (; x.start < (uint64_t)room->pages * PAGE; x.start = x.out_next) {
		if (call(fds[0], BUDDY_IOC_EXTENTS, &x) || !x.out_count)
			return false;
		for (uint32_t i = 0; i < x.out_count; i++)
			if (!churn_agrees(room, &entries[i]) || !is_split_right(room, &entries[i]))
				return false;
	}
	return true;
}

static bool grows(int owner, const struct churn_block *block, uint32_t more)
{
	uint64_t length = (uint64_t)block->pages * PAGE;

	if (resize(fds[owner], BUDDY_IOC_GROW, block->handle, length + more * PAGE))
		return false;
	expect_eq(resize(fds[owner], BUDDY_IOC_TRIM, block->handle, length), 0);
	return true;
}

/* The region as it is found: empty. */
static bool find_base(uint64_t region)
{
	struct buddy_alloc a;

	if (alloc_block(fds[0], region, &a))
		return false;
	base = a.out_offset;
	return !free_block(fds[0], a.out_handle) && settled_stats(fds[0], 0).out_free == region;
}

static struct churn_backend device = {
	.alloc = device_alloc,
	.free = device_free,
	.reclaiming = reclaiming,
	.largest = largest_pages,
	.free_units = free_units,
	.agrees = agrees,
	.grows = grows,
};

static const struct churn_backend *device_backend(const struct churn *stream)
{
	bool huge = stream->flags & BUDDY_ALLOC_SCATTER && is_huge(fds[0]);

	dirty = false;
	device.huge_units = huge ? huge_units : NULL;
	return settled_stats(fds[0], 0).out_used ? NULL : &device;
}

int main(int argc, char **argv)
{
	struct churn_options options = { .operations = 60000, .from = CHURN_SEED };
	uint64_t region;
	int status;

	if (!churn_options(argc, argv, &options))
		return 2;
	for (int i = 0; i < CHURN_OWNERS; i++)
		fds[i] = device_open();
	region = get_stats(fds[0]).out_region;
	device.pages = (uint32_t)(region / PAGE);
	if (region % UNIT || !find_base(region)) {
		printf("Bail out! the region is in use, or no multiple of 2 MiB\n");
		return 1;
	}
	status = churn_table(&options, rows, (int)(sizeof(rows) / sizeof(rows[0])), device_backend);
	return status || tap_failures ? 1 : 0;
}
