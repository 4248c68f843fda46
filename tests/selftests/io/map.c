// SPDX-License-Identifier: MIT
/*
 * map.c - rows of the I/O matrix: the mapping itself.
 */
#define _GNU_SOURCE
#include "io.h"

/* A figure in bytes of the mapping at @p, from smaps; -1 where it is not there. */
static long smaps_bytes(const void *p, const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false;
	char line[512];
	long kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (uintptr_t)p;
		else if (here && !strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld", &kib);
	}
	if (file)
		fclose(file);
	return kib < 0 ? -1 : kib << 10;
}

int map_huge(const struct buffer *b)
{
	struct buddy_info info = { .size = sizeof(info) };
	long units = (long)(b->length / (2 * MIB) * (2 * MIB)), huge;
	int fd = device_open();

	MUST(!call(fd, BUDDY_IOC_INFO, &info));
	pattern_fill(b->p, b->length, 1);
	MUST(smaps_bytes(b->p, "Rss") == (long)b->length);
	huge = smaps_bytes(b->p, "FilePmdMapped");
	if (!(info.out_features & BUDDY_FEATURE_HUGE)) {
		MUST(!huge);
		return SMALL_PAGES;
	}
	MUST(huge == units);
	return 0;
}

int map_msync(const struct buffer *b)
{
	pattern_fill(b->p, b->length, 2);
	TRY(msync(b->p, b->length, MS_SYNC));
	MUST(pattern_is(b->p, b->length, 2));
	return 0;
}
