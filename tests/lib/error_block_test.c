// SPDX-License-Identifier: MIT
/*
 * error_block_test.c - buddy_error() after a call for a block: what was wrong, and what
 * would have worked. The same cases on both backends.
 *
 * Usage: error_block_test process|device
 *
 * Limits, mounts and filters are those of a child of its own. Without sanitizers, which
 * need more addresses than a limit leaves.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "error.h"

static struct buddy_block *held;	/* of 16 MiB */

static void few_addresses(void)
{
	struct rlimit limit = { 8 * MIB, 8 * MIB };
	struct buddy_pool *pool;
	void *p;

	setrlimit(RLIMIT_AS, &limit);
	says(buddy_block_map(held, &p), -ENOMEM, "cannot map 16 MiB of ", place(),
	     "RLIMIT_AS (ulimit -v) allows this process 8 MiB of addresses");
	expect(!strstr(buddy_error(), "free"));
	if (on_device())
		says(buddy_pool_create(dev, NULL, &pool), -ENOMEM, "cannot create a pool",
		     "RLIMIT_AS");
}

static void few_mappings(void)
{
	char *a = mmap(NULL, 1ull << 30, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *p;

	expect(a != MAP_FAILED);
	for (size_t i = 0; i < 130000 && !mprotect(a + i * 8192, 4096, PROT_NONE); i++)
		;
	/* the last ones; no two that could become one */
	for (int i = 0; i < 16; i++)
		mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	says(buddy_block_map(held, &p), -ENOMEM, "cannot map 16 MiB of ", place(),
	     "mappings, and vm.max_map_count allows ");
}

static void few_locked(void)
{
	struct rlimit limit = { MIB, MIB };
	struct buddy_pool *pool;
	struct buddy_dev *own;
	void *p;

	expect_eq(buddy_dev_open(&own, backend, NULL, 16 * MIB), 0);
	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (!geteuid())
		expect(!setresuid(NOBODY, NOBODY, NOBODY));
	expect(!mlockall(MCL_FUTURE));
	says(buddy_block_map(held, &p), -EAGAIN, "cannot map 16 MiB of ", place(),
	     "RLIMIT_MEMLOCK (ulimit -l) allows 1 MiB", "munlockall()");
	says(buddy_pool_create(own, NULL, &pool), -EAGAIN, "cannot create a pool on ", place(),
	     "RLIMIT_MEMLOCK (ulimit -l) allows 1 MiB");
}

static void executable(void)
{
	void *p;

	personality(READ_IMPLIES_EXEC);
	says(buddy_block_map(held, &p), -EACCES, "cannot map 16 MiB of /dev/buddy",
	     "READ_IMPLIES_EXEC");
}

/* It refuses personality(), too: that is no sign of READ_IMPLIES_EXEC. */
static void filtered(void)
{
	void *p;

	expect(filter(MAP_SHARED, SECCOMP_RET_ERRNO | EACCES));
	says(buddy_block_map(held, &p), -EACCES, "cannot map 16 MiB of ", place(),
	     "a seccomp filter forbids it");
}

static void mapping(void)
{
	expect_eq(buddy_block_alloc(dev, 16 * MIB, 0, 0, &held), 0);
	in_child(few_addresses);
	in_child(few_mappings);
	in_child(few_locked);
	if (on_device())
		in_child(executable);
	in_child(filtered);
	expect_eq(buddy_block_free(held), 0);
}

static void wrong_requests(void)
{
	struct buddy_block *b;

	says(buddy_block_alloc(dev, 0, 0, 0, &b), -EINVAL, "the length is 0");
	says(buddy_block_alloc(dev, 1, 3, 0, &b), -EINVAL, "cannot allocate 1 bytes of ",
	     place(), "the alignment, 3 bytes, is no power of two");
	says(buddy_block_alloc(dev, 1, 2ull << 30, 0, &b), -EINVAL,
	     "the alignment, 2 GiB, is above the largest");
	says(buddy_block_alloc(dev, 1, 0, 1u << 31, &b), -EINVAL, "0x80000000",
	     "BUDDY_ALLOC_POW2, BUDDY_ALLOC_SCATTER and BUDDY_ALLOC_ALONE");
	says(buddy_block_alloc(dev, 1, 0, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER, &b),
	     -EINVAL, "take one of them");
	says(buddy_block_alloc(dev, 1, 0, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER |
			       BUDDY_ALLOC_ALONE, &b), -EINVAL, "take one of them");
	says(buddy_block_alloc(dev, 1, 4096, BUDDY_ALLOC_SCATTER, &b), -EINVAL,
	     "a scattered block has no alignment");
	says(buddy_block_alloc(dev, 1ull << 45, 0, 0, &b), -EFBIG, "cannot allocate 32 TiB",
	     "larger than the whole region", on_device() ? "size=" : "BUDDY_SIZE");
}

/* Every second 2 MiB: much is free, and no range is longer. */
static void shortage(void)
{
	struct buddy_alloc requests[2];
	struct buddy_block *blocks[64], *b, *pair[2];
	uint32_t n = 0, done;

	while (n < 64 && !buddy_block_alloc(dev, 2 * MIB, 0, 0, &blocks[n]))
		n++;
	expect(n >= 8);
	says(buddy_block_alloc(dev, 2 * MIB, 0, 0, &b), -ENOMEM, "cannot allocate 2 MiB of ",
	     place(), " are free, ", on_device() ? "buddyctl map" : "BUDDY_SIZE");
	expect(on_device() || !strstr(buddy_error(), "buddyctl"));
	for (uint32_t i = 0; i < n; i += 2) {
		expect_eq(buddy_block_free(blocks[i]), 0);
		blocks[i] = NULL;
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), -ENOMEM, "cannot allocate 4 MiB of ",
	     "the largest range has 2 MiB",
	     on_device() ? "BUDDY_ALLOC_SCATTER with alignment 0" : "or free blocks");
	if (!on_device()) {
		expect(!strstr(buddy_error(), "SCATTER"));
		says(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_SCATTER, &b), -ENOMEM,
		     "makes scattered blocks of one range, too");
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_POW2, &b), -ENOMEM,
	     "the largest range has 2 MiB");
	expect(!strstr(buddy_error(), "SCATTER"));
	memset(requests, 0, sizeof(requests));
	requests[0].length = MIB;
	requests[1].length = 4 * MIB;
	says(buddy_batch_alloc(dev, requests, 2, pair, &done), -ENOMEM,
	     "cannot allocate 4 MiB of ", "the largest range has ");
	expect_eq(done, 1);
	says(buddy_block_grow(blocks[1], 20ull << 40), -EFBIG, "cannot grow a block of 2 MiB to 20 TiB");
	expect_eq(buddy_block_free(pair[0]), 0);
	for (uint32_t i = 0; i < n; i++)
		buddy_block_free(blocks[i]);
}

/* A range is free, but none where the alignment would have it. */
static void alignments(void)
{
	struct buddy_block *blocks[64], *b;
	uint32_t n = 0;

	while (n < 64 && !buddy_block_alloc(dev, 4096, 8 * MIB, 0, &blocks[n]))
		n++;
	expect(n > 0);
	says(buddy_block_alloc(dev, 4096, 8 * MIB, 0, &b), -ENOMEM,
	     "none of 4 KiB is free at a multiple of the alignment, 8 MiB",
	     "ask for a smaller alignment");
	expect(!strstr(buddy_error(), "SCATTER"));
	while (n)
		buddy_block_free(blocks[--n]);
}

/* Pages 1 to 5 of 8 are free, and 4 pages start at a multiple of 4. */
static void own_alignment(void)
{
	struct buddy_block *blocks[8], *b;
	struct buddy_dev *own;

	if (on_device())
		skip("a region of 8 pages");
	expect_eq(buddy_dev_open(&own, BUDDY_BACKEND_PROCESS, NULL, 32 * KIB), 0);
	for (int i = 0; i < 8; i++)
		expect_eq(buddy_block_alloc(own, 1, 0, 0, &blocks[i]), 0);
	for (int i = 1; i < 6; i++)
		expect_eq(buddy_block_free(blocks[i]), 0);
	says(buddy_block_alloc(own, 16 * KIB, 0, 0, &b), -ENOMEM, "the largest range has 20 KiB",
	     "none of 16 KiB is free at a multiple of the largest power of two");
	expect_eq(buddy_block_alloc(own, 12 * KIB, 0, 0, &b), 0);
	expect_eq(buddy_block_free(b), 0);
	for (int i = 0; i < 8; i += i ? 1 : 6)
		expect_eq(buddy_block_free(blocks[i]), 0);
	buddy_dev_close(own);
}

/* Less than 2 MiB in each unit is free: scattered there is as little. */
static void crumbs(void)
{
	struct buddy_block *blocks[256], *b;
	uint32_t n = 0;

	while (n < 256 && !buddy_block_alloc(dev, MIB, 0, 0, &blocks[n]))
		n++;
	for (uint32_t i = 0; i < n; i += 2) {
		expect_eq(buddy_block_free(blocks[i]), 0);
		blocks[i] = NULL;
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), -ENOMEM, "the largest range has 1 MiB");
	expect(!strstr(buddy_error(), "SCATTER"));
	if (on_device()) {
		expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_SCATTER, &b), 0);
		expect_eq(buddy_block_free(b), 0);
	} else {
		says(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_SCATTER, &b), -ENOMEM,
		     "makes scattered blocks of one range, too");
	}
	says(buddy_block_alloc(dev, 4096, 0, BUDDY_ALLOC_ALONE, &b), -ENOMEM,
	     "cannot allocate 4 KiB of ", "no unit of 2 MiB is free",
	     "BUDDY_ALLOC_ALONE takes whole ones");
	for (uint32_t i = 0; i < n; i++)
		buddy_block_free(blocks[i]);
}

static void resizing(void)
{
	struct buddy_block *b, *next;
	void *p;

	expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), 0);
	expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, 0, &next), 0);
	says(buddy_block_trim(b, 0), -EINVAL, "cannot trim a block of 4 MiB to 0 bytes",
	     "free the block instead");
	says(buddy_block_trim(b, 6 * MIB), -EINVAL, "buddy_block_grow() makes it longer");
	says(buddy_block_grow(b, 2 * MIB), -EINVAL, "cannot grow a block of 4 MiB to 2 MiB",
	     "buddy_block_trim() makes it shorter");
	says(buddy_block_grow(b, 6 * MIB), -ENOMEM, "what follows the block is not free");
	expect_eq(buddy_block_map(b, &p), 0);
	says(buddy_block_trim(b, MIB), -EBUSY, "mapped here", "buddy_block_unmap()");
	buddy_block_unmap(b);
	if (on_device()) {
		int fd = buddy_block_share(b, 0);

		expect(fd >= 0);
		says(buddy_block_trim(b, MIB), -EBUSY, "has a block fd");
		close(fd);
	}
	expect_eq(buddy_block_free(b), 0);
	expect_eq(buddy_block_free(next), 0);
	expect_eq(buddy_block_alloc(dev, 4096, 0, BUDDY_ALLOC_ALONE, &b), 0);
	says(buddy_block_grow(b, 8192), -EOPNOTSUPP, "cannot grow a block of 4 KiB to 8 KiB",
	     "allocated with BUDDY_ALLOC_ALONE", "only becomes shorter");
	expect_eq(buddy_block_free(b), 0);
}

static void sharing_on_device(struct buddy_block *b)
{
	struct buddy_block *other;
	int fd = buddy_block_share(b, BUDDY_SHARE_READ_ONLY);

	says(buddy_block_share(b, 8), -EINVAL, "flags are 0x8", "BUDDY_SHARE_READ_ONLY");
	expect_eq(buddy_block_from_fd(fd, &other), 0);
	says(buddy_block_trim(other, 1), -EOPNOTSUPP, "came as a descriptor");
	says(buddy_block_share(other, 0), -EOPNOTSUPP, "dup(2)");
	says(buddy_batch_free(&other, 1, &(uint32_t){ 0 }), -EINVAL, "batch",
	     "nothing was freed");
	expect_eq(buddy_block_free(other), 0);
	close(fd);
}

static void sharing(void)
{
	struct buddy_block *b, *other;
	int fd = open("/dev/null", O_RDONLY);

	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &b), 0);
	if (on_device())
		sharing_on_device(b);
	else
		says(buddy_block_share(b, 0), -EOPNOTSUPP,
		     "cannot share a block of the process backend", "take /dev/buddy");
	says(buddy_block_from_fd(fd, &other), -ENOTTY, "cannot take a block from descriptor",
	     "(/dev/null)", "that is no block fd", "buddy_block_share()");
	close(fd);
	says(buddy_block_from_fd(fd, &other), -EBADF, "that is not open");
	fd = open("/dev/null", O_PATH);
	says(buddy_block_from_fd(fd, &other), -EBADF, "it was opened with O_PATH");
	close(fd);
	expect_eq(buddy_block_free(b), 0);
}

static void forked_calls(void)
{
	struct buddy_block *b;
	struct buddy_info info;

	says(buddy_block_alloc(dev, 1, 0, 0, &b), -EPERM, "after fork()",
	     "belongs to the parent; open another one here");
	says(buddy_dev_info(dev, &info), -EPERM, "cannot ask what the process backend is");
}

static void after_fork(void)
{
	if (on_device())
		skip("a device may be used after fork()");
	in_child(forked_calls);
}

/* As daemons do that close what they do not know. */
static void lost_descriptor(void)
{
	struct buddy_block *b;
	int other = open("/dev/null", O_RDWR), pipes[2];
	void *p;

	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &b), on_device() ? 0 : -EPERM);
	if (on_device())
		expect_eq(buddy_block_free(b), 0);
	for (int fd = 400; fd < 410; fd++)
		close(fd);
	says(buddy_block_map(held, &p), -EBADF, "cannot map 4 KiB of ", place(),
	     "the program has closed the descriptor");
	expect(!pipe(pipes));
	for (int fd = 400; fd < 410; fd++)
		dup2(pipes[0], fd);
	says(buddy_block_map(held, &p), -EACCES, "cannot map 4 KiB of ", place(),
	     "its descriptor is another file");
	for (int fd = 400; fd < 410; fd++)
		dup2(other, fd);
	if (on_device())
		says(buddy_block_alloc(dev, 1, 0, 0, &b), -ENOTTY,
		     "cannot allocate 1 bytes of /dev/buddy", "its descriptor is another file");
}

static void closed_below(void)
{
	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &held), 0);
	in_child(lost_descriptor);
	expect_eq(buddy_block_free(held), 0);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "limits while mapping", mapping },
		{ "wrong requests", wrong_requests },
		{ "shortage", shortage },
		{ "alignments", alignments },
		{ "alignment of a length", own_alignment },
		{ "crumbs", crumbs },
		{ "trim and grow", resizing },
		{ "sharing", sharing },
		{ "after fork", after_fork },
		{ "a descriptor that the program closes", closed_below },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
