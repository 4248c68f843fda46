// SPDX-License-Identifier: MIT
/*
 * lib_test.c - libbuddymem, the same cases on both backends.
 *
 * Usage: lib_test process|device
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <buddy_mem.h>

#include "placement.h"
#include "tap.h"

#define KIB	1024ull
#define MIB	(1024 * KIB)

static enum buddy_backend backend;
static struct buddy_dev *dev;

static struct buddy_stats stats(void)
{
	struct buddy_stats s;

	expect_eq(buddy_dev_stats(dev, &s), 0);
	return s;
}

static uint64_t region(void)
{
	return stats().out_region;
}

static void opening(void)
{
	struct buddy_dev *d;

	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEVICE, "/nonexistent", 0),
		  -ENOENT);
	expect(!d);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEVICE, "/dev/null", 0), -ENOTTY);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEVICE, "/", 0), -EISDIR);
	expect_eq(buddy_dev_open(&d, (enum buddy_backend)77, NULL, 0), -EINVAL);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, UINT64_MAX),
		  -EFBIG);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, 1ull << 50), -EFBIG);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_AUTO, "/nonexistent", 0), 0);
	expect(!strcmp(buddy_dev_backend(d), "process"));
	buddy_dev_close(d);
	buddy_dev_close(NULL);
}

/* A limit that ends who exceeds it. */
static void file_limit(void)
{
	struct rlimit before, limit;
	struct buddy_dev *d;

	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 1024 * MIB;
	setrlimit(RLIMIT_FSIZE, &limit);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, MIB), -EFBIG);
	limit.rlim_cur = 1025 * MIB;
	setrlimit(RLIMIT_FSIZE, &limit);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, MIB), 0);
	buddy_dev_close(d);
	setrlimit(RLIMIT_FSIZE, &before);
}

static void environment(void)
{
	static const char *const bad_sizes[] = {
		"x", "-1", "1P", "1KM", "99999999999999999999G", "0", "0%", "K",
	};
	struct buddy_dev *d;
	struct buddy_info i;

	setenv("BUDDY_BACKEND", "process", 1);
	setenv("BUDDY_SIZE", "3m", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), 0);
	expect_eq(buddy_dev_info(d, &i), 0);
	expect_eq(i.out_region, 3 * MIB);
	buddy_dev_close(d);
	setenv("BUDDY_SIZE", "1.5MiB", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), 0);
	expect_eq(buddy_dev_info(d, &i), 0);
	expect_eq(i.out_region, 3 * MIB / 2);
	buddy_dev_close(d);
	setenv("BUDDY_SIZE", "50%", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), 0);
	expect_eq(buddy_dev_info(d, &i), 0);
	expect(i.out_region - (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 *
	       (uint64_t)sysconf(_SC_PAGESIZE) <= 2 * MIB);
	buddy_dev_close(d);
	for (size_t k = 0; k < sizeof(bad_sizes) / sizeof(bad_sizes[0]); k++) {
		setenv("BUDDY_SIZE", bad_sizes[k], 1);
		expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0),
			  -EINVAL);
	}
	unsetenv("BUDDY_SIZE");
	setenv("BUDDY_BACKEND", "paper", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), -EINVAL);
	setenv("BUDDY_BACKEND", "device", 1);
	setenv("BUDDY_DEVICE", "/nonexistent", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), -ENOENT);
	setenv("BUDDY_BACKEND", "auto", 1);
	expect_eq(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), 0);
	buddy_dev_close(d);
	unsetenv("BUDDY_BACKEND");
	unsetenv("BUDDY_DEVICE");
}

/* AUTO must not hide a device that may not be opened. */
static void auto_without_permission(void)
{
	char name[] = "/tmp/buddy-XXXXXX";
	int status, fd;
	pid_t pid;

	if (geteuid())
		skip("needs root");
	fd = mkstemp(name);
	expect(fd >= 0 && !fchmod(fd, 0));
	close(fd);
	pid = fork();
	if (!pid) {
		struct buddy_dev *d;

		if (setuid(65534))
			_exit(2);
		_exit(buddy_dev_open(&d, BUDDY_BACKEND_AUTO, name, 0) ==
		      -EACCES ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	unlink(name);
	expect_eq(status, 0);
}

static void one_block(void)
{
	struct buddy_block *b;
	struct buddy_stats before = stats();
	void *p, *q;

	expect_eq(buddy_block_alloc(dev, 10 * KIB, 0, 0, &b), 0);
	expect_eq(buddy_block_length(b), 12 * KIB);
	expect(is_well_placed(buddy_block_offset(b), 12 * KIB, 0, false));
	expect(buddy_block_offset(b) != 0);
	expect_eq(buddy_block_map(b, &p), 0);
	expect_eq(buddy_block_map(b, &q), 0);
	expect(p == q);
	for (size_t i = 0; i < 12 * KIB; i++)
		expect_eq(((char *)p)[i], 0);
	memset(p, 1, 12 * KIB);
	buddy_block_unmap(b);
	buddy_block_unmap(b);
	expect_eq(buddy_block_map(b, &p), 0);
	expect_eq(((char *)p)[12 * KIB - 1], 1);
	expect_eq(stats().out_used, before.out_used + 12 * KIB);
	expect_eq(stats().out_blocks, before.out_blocks + 1);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(buddy_block_free(NULL), 0);
	expect_eq(stats().out_used, before.out_used);
}

static void zero_again(void)
{
	struct buddy_block *b;
	char *p;

	for (int round = 0; round < 3; round++) {
		expect_eq(buddy_block_alloc(dev, region(), 0, 0, &b), 0);
		expect_eq(buddy_block_map(b, (void **)&p), 0);
		for (uint64_t i = 0; i < region(); i += 1 * MIB) {
			expect_eq(p[i], 0);
			memset(p + i, 0xff, 64);
		}
		expect_eq(buddy_block_free(b), 0);
	}
}

static void wrong_requests(void)
{
	struct buddy_block *b = (void *)&b;

	expect_eq(buddy_block_alloc(dev, 0, 0, 0, &b), -EINVAL);
	expect(!b);
	expect_eq(buddy_block_alloc(dev, 1, 3, 0, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 2ull << 30, 0, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 0, 1u << 31, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 4096, BUDDY_ALLOC_SCATTER, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 0, BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_POW2,
				    &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 3, BUDDY_ALLOC_ALONE, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 0, 0, BUDDY_ALLOC_ALONE, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, 1, 0, BUDDY_ALLOC_ALONE << 1, &b), -EINVAL);
	expect_eq(buddy_block_alloc(dev, region() + 1, 0, BUDDY_ALLOC_ALONE, &b), -EFBIG);
	expect_eq(buddy_block_alloc(dev, region() + 1, 0, 0, &b), -EFBIG);
	expect_eq(buddy_block_alloc(dev, UINT64_MAX, 0, 0, &b), -EFBIG);
	expect_eq(buddy_block_alloc(dev, UINT64_MAX, 0, BUDDY_ALLOC_POW2, &b),
		  -EFBIG);
}

/* Either backend takes the flag; one range is as good as several. */
static void scatter(void)
{
	struct buddy_block *b;
	void *p;

	expect_eq(buddy_block_alloc(dev, 9 * KIB, 0, BUDDY_ALLOC_SCATTER, &b), 0);
	expect_eq(buddy_block_length(b), 12 * KIB);
	expect_eq(buddy_block_map(b, &p), 0);
	memset(p, 1, 12 * KIB);
	expect_eq(buddy_block_free(b), 0);
}

static void power_of_two(void)
{
	struct buddy_block *b;

	expect_eq(buddy_block_alloc(dev, 9 * KIB, 0, BUDDY_ALLOC_POW2, &b), 0);
	expect_eq(buddy_block_length(b), 16 * KIB);
	expect_eq(buddy_block_free(b), 0);
}

/* The oracle itself, by what linux/buddy.h says in words. */
static void promise_of_placement(void)
{
	const uint64_t page = 4 * KIB;

	expect_eq(placement_align(page, 0, false), page);
	expect_eq(placement_align(3 * page, 0, false), page);
	expect_eq(placement_align(12 * page, 0, false), 4 * page);
	expect_eq(placement_align(12 * page, MIB, false), MIB);
	expect_eq(placement_align(16 * MIB, 0, false), 2 * MIB);
	expect_eq(placement_align(16 * MIB, 0, true), 16 * MIB);
	expect_eq(placement_units(2 * MIB - page, 0), 0);
	expect_eq(placement_units(2 * MIB, 0), 1);
	expect_eq(placement_units(2 * MIB + page, 0), 0);
	expect_eq(placement_units(6 * MIB, 0), 3);
	expect_eq(placement_units(6 * MIB + page, 0), 2);
	expect_eq(placement_units(6 * MIB + page, 2 * MIB), 3);
	expect(is_well_placed(3 * page, 3 * page, 0, false));
	expect(!is_well_placed(3 * page, 2 * page, 0, false));
	expect(!is_well_placed(page, 3 * page, 2 * page, false));
	expect(!is_well_placed(2 * MIB, 4 * MIB, 0, true));
	/* a head and a tail: one whole unit less */
	expect(is_well_placed(2 * MIB - page, 4 * MIB + page, 0, false));
	expect(is_well_placed(page, 4 * MIB + page, 0, false));
	expect(!is_well_placed(page, 4 * MIB + page, 2 * MIB, false));
}

/* Blocks of all kinds lie where they are promised to, with one of each in the way. */
static void placement(void)
{
	static const uint64_t lengths[] = {
		4 * KIB, 12 * KIB, 384 * KIB, MIB, 2 * MIB - 4 * KIB, 2 * MIB, 3 * MIB,
		4 * MIB + 8 * KIB, 6 * MIB,
	};
	const int count = sizeof(lengths) / sizeof(lengths[0]);
	struct buddy_block *kept[sizeof(lengths) / sizeof(lengths[0])], *b;

	for (int i = 0; i < count; i++) {
		for (uint64_t align = 0; align <= 8 * MIB; align = align ? 4 * align : 4 * KIB) {
			expect_eq(buddy_block_alloc(dev, lengths[i], align, 0, &b), 0);
			expect(is_well_placed(buddy_block_offset(b), buddy_block_length(b),
					      align, false));
			expect_eq(buddy_block_free(b), 0);
		}
		expect_eq(buddy_block_alloc(dev, lengths[i], 0, BUDDY_ALLOC_POW2, &b), 0);
		expect(is_well_placed(buddy_block_offset(b), buddy_block_length(b), 0, true));
		expect_eq(buddy_block_free(b), 0);
		expect_eq(buddy_block_alloc(dev, lengths[i], 0, 0, &kept[i]), 0);
	}
	for (int i = 0; i < count; i++)
		expect_eq(buddy_block_free(kept[i]), 0);
}

static void shortage(void)
{
	struct buddy_alloc request = { .length = 8 * KIB };
	struct buddy_block *all, *b;
	uint64_t fails = stats().out_fails;

	expect_eq(buddy_block_alloc(dev, region() - 4 * KIB, 0, 0, &all), 0);
	expect_eq(buddy_block_request(dev, &request, &b), -ENOMEM);
	expect(!b);
	expect_eq(request.out_free, 4 * KIB);
	expect_eq(request.out_largest, 4 * KIB);
	expect_eq(stats().out_fails, fails + 1);
	expect_eq(buddy_block_free(all), 0);
}

static void extents(void)
{
	struct buddy_extent_entry e[3];
	struct buddy_block *blocks[10];
	uint64_t start = 0, at = 0;
	int n, used = 0;

	for (int i = 0; i < 10; i++)
		expect_eq(buddy_block_alloc(dev, (uint64_t)(i + 1) * 4 * KIB, 0, 0,
					    &blocks[i]), 0);
	while ((n = buddy_dev_extents(dev, &start, e, 3)) > 0) {
		for (int i = 0; i < n; i++) {
			expect_eq(e[i].offset, at);
			at += e[i].length;
			used += e[i].state == BUDDY_EXTENT_USED &&
				e[i].pid == getpid();
		}
	}
	expect_eq(n, 0);
	expect_eq(at, region());
	expect_eq(used, 10);
	for (int i = 0; i < 10; i++)
		expect_eq(buddy_block_free(blocks[i]), 0);
	expect_eq(buddy_dev_extents(dev, &start, e, 0), -EINVAL);
}

static void after_fork(void)
{
	struct buddy_block *b;
	char *p;
	int status;
	pid_t pid;

	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &b), 0);
	expect_eq(buddy_block_map(b, (void **)&p), 0);
	pid = fork();
	if (!pid) {
		struct buddy_block *own;
		int err = buddy_block_alloc(dev, 4 * KIB, 0, 0, &own);
		bool device = backend == BUDDY_BACKEND_DEVICE;

		p[7] = 7;
		_exit(err == (device ? 0 : -EPERM) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(p[7], 7);
	expect_eq(buddy_block_free(b), 0);
}

static void sharing(void)
{
	struct buddy_block *b;
	char *p, *q;
	int fd;

	expect_eq(buddy_block_alloc(dev, 8 * KIB, 0, 0, &b), 0);
	fd = buddy_block_share(b, 0);
	if (backend == BUDDY_BACKEND_PROCESS) {
		expect_eq(fd, -EOPNOTSUPP);
		expect_eq(buddy_block_free(b), 0);
		return;
	}
	expect(fd >= 0);
	expect_eq(buddy_block_share(b, 8), -EINVAL);
	expect_eq(buddy_block_map(b, (void **)&p), 0);
	p[5000] = 5;
	q = mmap(NULL, 8 * KIB, PROT_READ, MAP_SHARED, fd, 0);
	expect(q != MAP_FAILED && q[5000] == 5);
	expect_eq(buddy_block_free(b), 0);
	expect_eq(q[5000], 5);
	munmap(q, 8 * KIB);
	close(fd);
}

static void *hammer(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	uintptr_t bad = 0;

	for (int i = 0; i < 500; i++) {
		struct buddy_block *b;
		uint64_t length = 1 + (uint64_t)rand_r(&seed) % (64 * KIB);
		unsigned char *p;

		if (buddy_block_alloc(dev, length, 0, 0, &b)) {
			bad++;
			continue;
		}
		bad += buddy_block_map(b, (void **)&p) != 0;
		bad += p[0] != 0 || p[length - 1] != 0;
		memset(p, i, length);
		bad += p[length / 2] != (unsigned char)i;
		bad += buddy_block_free(b) != 0;
	}
	return (void *)bad;
}

static void threads(void)
{
	struct buddy_stats before = stats();
	pthread_t t[4];

	for (uintptr_t i = 0; i < 4; i++)
		expect(!pthread_create(&t[i], NULL, hammer, (void *)(i + 1)));
	for (int i = 0; i < 4; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		expect_eq((uintptr_t)bad, 0);
	}
	expect_eq(stats().out_allocs, before.out_allocs + 2000);
	expect_eq(stats().out_used, before.out_used);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "opening", opening },
		{ "a limit of file sizes", file_limit },
		{ "environment variables", environment },
		{ "auto does not hide a lack of permission", auto_without_permission },
		{ "one block", one_block },
		{ "what was freed is zero again", zero_again },
		{ "wrong requests", wrong_requests },
		{ "power of two", power_of_two },
		{ "promise of placement", promise_of_placement },
		{ "placement", placement },
		{ "scatter", scatter },
		{ "no memory explains itself", shortage },
		{ "extents", extents },
		{ "after fork", after_fork },
		{ "sharing", sharing },
		{ "threads", threads },
	};
	int failed, err;

	if (argc == 2 && !strcmp(argv[1], "process"))
		backend = BUDDY_BACKEND_PROCESS;
	else if (argc == 2 && !strcmp(argv[1], "device"))
		backend = BUDDY_BACKEND_DEVICE;
	else
		return 2;
	err = buddy_dev_open(&dev, backend, NULL, 0);
	if (err) {
		printf("Bail out! %s\n", buddy_error());
		return 1;
	}
	failed = tap_run(cases, TAP_COUNT(cases));
	buddy_dev_close(dev);
	return failed;
}
