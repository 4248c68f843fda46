// SPDX-License-Identifier: MIT
/*
 * device_bench.c - instructions of ALLOC and FREE of /dev/buddy, by length, beside two
 * empty system calls on the same device.
 *
 *   make bench-device [KERNEL=7.3]
 *
 * Medians of many pairs; lengths above the region are left out. Blocks are not touched: a
 * touched one is zeroed by a worker after it is freed (map_bench.c counts that). The row
 * "later" is of 4096 bytes again, after 262,144 more handles were issued; "only" of 4096
 * bytes in a file that has no other block.
 */
#include <stdio.h>

#include "harness.h"
#include "insns.h"

#define PAIRS	401
#define LATER	262144
#define BATCH	256

static const uint64_t lengths[] = {
	4096, 65536, 2 * MIB, 2 * MIB + 4096, 64 * MIB, 1024 * MIB,
};

static uint64_t alloc_cost[PAIRS], free_cost[PAIRS], pair_cost[PAIRS];

/* What reading the counter costs. */
static uint64_t overhead(void)
{
	for (int i = 0; i < PAIRS; i++) {
		uint64_t t = insns();

		pair_cost[i] = insns() - t;
	}
	return insns_median(pair_cost, PAIRS);
}

/* A command that the device does not have. */
static uint64_t empty_calls(int fd, uint64_t reading)
{
	for (int i = 0; i < PAIRS; i++) {
		struct buddy_alloc a = { .size = sizeof(a) };
		uint64_t t = insns();

		ioctl(fd, _IOWR(BUDDY_IOC_TYPE, 0xf0, struct buddy_alloc), &a);
		ioctl(fd, _IOWR(BUDDY_IOC_TYPE, 0xf0, struct buddy_alloc), &a);
		pair_cost[i] = insns() - t - reading;
	}
	return insns_median(pair_cost, PAIRS);
}

/* Return: whether the region has so much. */
static bool count_pairs(int fd, uint64_t length, uint64_t reading)
{
	for (int i = 0; i < PAIRS; i++) {
		struct buddy_alloc a;
		uint64_t t = insns();

		if (alloc_block(fd, length, &a))
			return false;
		alloc_cost[i] = insns() - t - reading;
		t = insns();
		free_block(fd, a.out_handle);
		free_cost[i] = insns() - t - reading;
		pair_cost[i] = alloc_cost[i] + free_cost[i];
	}
	return true;
}

/* Issues @count handles, as many at a time as fit a batch, and frees them. */
static bool issue_handles(int fd, uint32_t count)
{
	static struct buddy_batch_entry entries[BATCH];
	struct buddy_batch batch = {
		.size = sizeof(batch), .count = BATCH,
		.entries = (uintptr_t)entries, .entry_size = sizeof(entries[0]),
	};

	for (uint32_t issued = 0; issued < count; issued += BATCH) {
		for (int i = 0; i < BATCH; i++)
			entries[i] = (struct buddy_batch_entry){
				.op = BUDDY_BATCH_ALLOC, .length = PAGE };
		if (call(fd, BUDDY_IOC_BATCH, &batch))
			return false;
		for (int i = 0; i < BATCH; i++)
			entries[i] = (struct buddy_batch_entry){
				.op = BUDDY_BATCH_FREE, .handle = entries[i].handle };
		if (call(fd, BUDDY_IOC_BATCH, &batch))
			return false;
	}
	return true;
}

static void print_row(const char *name, uint64_t first)
{
	uint64_t pair = insns_median(pair_cost, PAIRS);

	printf("%12s %8llu %8llu %8llu %18.2f\n", name,
	       (unsigned long long)insns_median(alloc_cost, PAIRS),
	       (unsigned long long)insns_median(free_cost, PAIRS),
	       (unsigned long long)pair, (double)pair / (double)(first ? first : pair));
}

int main(void)
{
	uint64_t reading, empty, first = 0;
	int fd = device_open();
	struct buddy_alloc kept;

	/* a file that keeps a unit for its small blocks, as programs do */
	if (alloc_block(fd, PAGE, &kept))
		return 1;
	reading = overhead();
	empty = empty_calls(fd, reading);
	printf("%12s %8s %8s %8s %18s\n", "bytes", "ALLOC", "FREE", "pair", "pair, 4096 = 1");
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
		char name[24];

		if (!count_pairs(fd, lengths[l], reading))
			break;
		snprintf(name, sizeof(name), "%llu", (unsigned long long)lengths[l]);
		print_row(name, first);
		if (!first)
			first = insns_median(pair_cost, PAIRS);
	}
	if (!issue_handles(fd, LATER) || !count_pairs(fd, PAGE, reading))
		return 1;
	print_row("later", first);
	/* The only small block of a file: a unit is split for it each time. */
	free_block(fd, kept.out_handle);
	if (!count_pairs(fd, PAGE, reading))
		return 1;
	print_row("only", first);
	printf("%12s %26llu\n", "two empty ioctls", (unsigned long long)empty);
	return 0;
}
