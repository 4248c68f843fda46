// SPDX-License-Identifier: MIT
/*
 * load_bench.c - from a file that is not in the page cache to weights that can be
 * read: instructions of the process, its time in the kernel included, by the way that
 * the file takes.
 *
 *   make bench-load [KERNEL=7.3]     (tests/bench/load makes the file)
 *   load_bench FILE
 *
 * Ready means that each page has been read once. What the processor does while the
 * process waits for the disk is not counted.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "harness.h"
#include "insns.h"

#define CHUNK	(8 * MIB)

static const char *path;
static uint64_t length;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_file(int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0)
		fail(path);
	return fd;
}

static void use(const char *p)
{
	for (uint64_t at = 0; at < length; at += PAGE)
		(void)*(volatile const char *)(p + at);
}

static void read_all(int fd, char *to)
{
	for (uint64_t at = 0; at < length;) {
		uint64_t left = length - at;
		ssize_t n = pread(fd, to + at, left < CHUNK ? left : CHUNK, (off_t)at);

		if (n <= 0)
			fail("pread");
		at += (uint64_t)n;
	}
}

static char *anonymous(void)
{
	char *p = mmap(NULL, length + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));

	if (p == MAP_FAILED)
		fail("mmap");
	madvise(at, length, MADV_HUGEPAGE);
	return at;
}

static char *block(void)
{
	struct buddy_alloc a;
	int fd = device_open();
	char *p;

	if (alloc_block(fd, length, &a))
		fail("ALLOC");
	p = map_block(fd, &a);
	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static void direct(char *to)
{
	int fd = open_file(O_DIRECT);

	read_all(fd, to);
	use(to);
}

static void cached(char *to)
{
	int fd = open_file(0);

	read_all(fd, to);
	use(to);
}

static void direct_to_block(void) { direct(block()); }
static void direct_to_anonymous(void) { direct(anonymous()); }
static void read_to_block(void) { cached(block()); }
static void read_to_anonymous(void) { cached(anonymous()); }

static void map_file(void)
{
	char *p = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_POPULATE, open_file(0), 0);

	if (p == MAP_FAILED)
		fail("mmap");
	use(p);
}

static const struct {
	const char *name;
	void (*load)(void);
} ways[] = {
	{ "O_DIRECT into a block", direct_to_block },
	{ "O_DIRECT into anonymous memory, THP", direct_to_anonymous },
	{ "read() into a block", read_to_block },
	{ "read() into anonymous memory, THP", read_to_anonymous },
	{ "mmap() of the file, populated", map_file },
};

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd < 0 || write(fd, "3", 1) != 1)
		fail("drop_caches");
	close(fd);
}

/* In a process of its own, so that its memory is gone afterwards. */
static uint64_t load_in_child(void (*load)(void))
{
	uint64_t count = 0;
	int ends[2];

	drop_caches();
	if (pipe(ends))
		fail("pipe");
	if (!fork()) {
		uint64_t t = insns_of_process();

		load();
		t = insns_of_process() - t;
		_exit(write(ends[1], &t, sizeof(t)) != sizeof(t));
	}
	close(ends[1]);
	if (read(ends[0], &count, sizeof(count)) != sizeof(count))
		exit(1);
	close(ends[0]);
	wait(NULL);
	return count;
}

int main(int argc, char **argv)
{
	struct stat st;

	path = argc > 1 ? argv[1] : "";
	if (stat(path, &st))
		fail(path);
	length = (uint64_t)st.st_size;
	printf("%-38s %20s\n", "way of the file", "million instructions");
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		uint64_t count[3];

		for (int i = 0; i < 3; i++)
			count[i] = load_in_child(ways[w].load);
		printf("%-38s %20.2f\n", ways[w].name, (double)insns_median(count, 3) / 1e6);
	}
	return 0;
}
