// SPDX-License-Identifier: MIT
/*
 * bench.c - buddyctl bench: what a call costs on this machine, by length of the block.
 *
 * Medians, so that one interruption does not count. It takes and gives back what is
 * free, and so is in the way of others while it runs (some seconds).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buddyctl.h"

#define ROUNDS	201		/* at most */
#define BUDGET	0.3		/* seconds for one kind of figure */

/* Microseconds; bytes written in a second, by memset on a fresh mapping and again. */
struct row {
	uint64_t length;
	double alloc, free, map;
	double first, again;
};

static int less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), less);
	return values[count / 2];
}

/* Return: 0 or a negative errno. */
static int time_calls(struct buddy_dev *dev, struct row *row)
{
	double allocs[ROUNDS], maps[ROUNDS], frees[ROUNDS], end = ctl_now() + BUDGET;
	int i;

	for (i = 0; i < ROUNDS && (!i || ctl_now() < end); i++) {
		struct buddy_block *block;
		double t0 = ctl_now(), t1, t2, t3;
		void *p;
		int err = buddy_block_alloc(dev, row->length, 0, 0, &block);

		t1 = ctl_now();
		if (err)
			return err;
		err = buddy_block_map(block, &p);
		t2 = ctl_now();
		buddy_block_unmap(block);
		t3 = ctl_now();
		buddy_block_free(block);
		if (err)
			return err;
		frees[i] = (ctl_now() - t3) * 1e6;
		allocs[i] = (t1 - t0) * 1e6;
		maps[i] = (t2 - t1) * 1e6;
	}
	row->alloc = median(allocs, i);
	row->map = median(maps, i);
	row->free = median(frees, i);
	return 0;
}

static int time_memory(struct buddy_dev *dev, struct row *row)
{
	double first[ROUNDS], again[ROUNDS], end = ctl_now() + BUDGET;
	int i;

	for (i = 0; i < ROUNDS && (!i || ctl_now() < end); i++) {
		struct buddy_block *block;
		double t0;
		void *p;
		int err = buddy_block_alloc(dev, row->length, 0, 0, &block);

		if (err)
			return err;
		err = buddy_block_map(block, &p);
		if (!err) {
			t0 = ctl_now();
			memset(p, 1, row->length);
			first[i] = (double)row->length / (ctl_now() - t0);
			t0 = ctl_now();
			memset(p, 2, row->length);
			again[i] = (double)row->length / (ctl_now() - t0);
		}
		buddy_block_free(block);
		if (err)
			return err;
	}
	row->first = median(first, i);
	row->again = median(again, i);
	return 0;
}

static void print_row(const struct ctl *ctl, const struct row *r, bool first)
{
	if (ctl->format == CTL_JSON)
		printf("%s\n  { \"length\": %" PRIu64 ", \"alloc_us\": %.2f, \"map_us\": %.2f, "
		       "\"free_us\": %.2f, \"first_write_bytes_per_s\": %.0f, "
		       "\"write_bytes_per_s\": %.0f }", first ? "" : ",", r->length, r->alloc,
		       r->map, r->free, r->first, r->again);
	else
		printf("%10s %9.2f us %9.2f us %9.2f us %8.2f GB/s %8.2f GB/s\n",
		       ctl_bytes(r->length), r->alloc, r->map, r->free, r->first / 1e9,
		       r->again / 1e9);
	fflush(stdout);
}

int ctl_bench(const struct ctl *ctl)
{
	struct buddy_stats stats;
	uint64_t least = (uint64_t)sysconf(_SC_PAGESIZE);
	int err = buddy_dev_stats(ctl->dev, &stats);

	if (err)
		return err;
	if (stats.out_largest < least) {
		fputs("buddyctl: bench takes free memory, and the region has none (buddyctl map)\n",
		      stderr);
		return CTL_SAID + 1;
	}
	if (ctl->format == CTL_JSON)
		putchar('[');
	else
		printf("%10s %12s %12s %12s %13s %13s\n", "length", "alloc", "map", "free",
		       "first write", "write again");
	for (uint64_t length = least; !err && length <= stats.out_largest; length *= 8) {
		struct row row = { .length = length };

		err = time_calls(ctl->dev, &row);
		if (!err)
			err = time_memory(ctl->dev, &row);
		if (!err)
			print_row(ctl, &row, length == least);
	}
	if (ctl->format == CTL_JSON)
		puts("\n]");
	return err;
}
