// SPDX-License-Identifier: MIT
/*
 * buffers.c - allocates so many buffers of so many MiB, writes to the first byte of
 * each, and ends. tests/preload/buffers_test runs it with libbuddymem_preload.so.
 *
 * Usage: buffers COUNT MIB
 */
#include <stdlib.h>

int main(int argc, char **argv)
{
	unsigned long count = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) << 20 : 0;

	for (unsigned long i = 0; i < count; i++) {
		char *p = malloc(bytes);

		if (!p)
			return 1;
		*(volatile char *)p = 1;
	}
	return count ? 0 : 2;
}
