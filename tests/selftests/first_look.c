// SPDX-License-Identifier: MIT
/*
 * first_look.c - for first_test: status 0 where all of a region, which nobody has used
 * yet, is zero. Needs the module.
 */
#define _GNU_SOURCE
#include "harness.h"

int main(void)
{
	int fd = device_open();
	uint64_t region = get_stats(fd).out_region;
	struct buddy_alloc a;

	return alloc_block(fd, region, &a) || !is_zero(map_block(fd, &a), region);
}
