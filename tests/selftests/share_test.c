// SPDX-License-Identifier: MIT
/*
 * share_test.c - block fds: what they can do, what they cannot, and how long
 * they keep a block. Needs root and the module.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "ktest.h"
#include "share_calls.h"

static int share_fd(int file, uint64_t handle, uint32_t flags)
{
	return share_block(file, BUDDY_IOC_SHARE, handle, flags);
}

static void *map_fd(int file, size_t length, int prot, off_t offset)
{
	void *p = mmap(NULL, length, prot, MAP_SHARED, file, offset);

	return p == MAP_FAILED ? NULL : p;
}

TEST_F(device, what_a_block_fd_can_do)
{
	const int rw = PROT_READ | PROT_WRITE;
	struct buddy_block_info info = { .size = sizeof(info) };
	struct buddy_info node = { .size = sizeof(node) };
	struct buddy_alloc a, again;
	struct buddy_stats stats = { .size = sizeof(stats) };
	char *p, *q;
	int block;

	expect_eq(alloc_block(fd, 3 * PAGE, &a), 0);
	block = share_fd(fd, a.out_handle, 0);
	expect(block >= 0);
	expect(fcntl(block, F_GETFD) & FD_CLOEXEC);
	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), 0);
	expect_eq(info.out_length, 3 * PAGE);
	expect(info.out_features & BUDDY_FEATURE_CONTIGUOUS);
	info.flags = 1;
	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), -EINVAL);
	/* it names a block, not the region */
	again = (struct buddy_alloc){ .size = sizeof(again), .length = PAGE };
	expect_eq(call(block, BUDDY_IOC_ALLOC, &again), -ENOTTY);
	expect_eq(call(block, BUDDY_IOC_STATS, &stats), -ENOTTY);
	expect_eq(call(block, BUDDY_IOC_INFO, &node), -ENOTTY);
	expect_eq(free_block(block, a.out_handle), -ENOTTY);
	expect_eq(share_fd(block, a.out_handle, 0), -ENOTTY);
	info.flags = 0;
	expect_eq(call(fd, BUDDY_IOC_BLOCK, &info), -ENOTTY);

	expect_eq(map_errno(block, 4 * PAGE, rw, MAP_SHARED, 0), -ENXIO);
	expect_eq(map_errno(block, 3 * PAGE, rw, MAP_SHARED, PAGE), -ENXIO);
	expect_eq(map_errno(block, PAGE, rw, MAP_SHARED, 3 * PAGE), -ENXIO);
	expect_eq(map_errno(block, PAGE, rw, MAP_SHARED, 1ll << 43), -ENXIO);
	expect_eq(map_errno(block, PAGE, rw, MAP_SHARED, (off_t)a.out_offset), -ENXIO);
	expect_eq(map_errno(block, PAGE, rw, MAP_PRIVATE, 0), -EINVAL);
	expect(map_errno(block, PAGE, rw | PROT_EXEC, MAP_SHARED, 0) < 0);

	p = map_block(fd, &a);
	q = map_fd(block, 2 * PAGE, rw, PAGE);
	p[PAGE + 5] = 42;
	expect_eq(q[5], 42);
	q[2 * PAGE - 1] = 43;
	expect_eq(p[3 * PAGE - 1], 43);
	munmap(p, 3 * PAGE);
	munmap(q, 2 * PAGE);
	close(block);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, read_only)
{
	struct buddy_alloc a;
	char *p, *q;
	int block;

	expect_eq(alloc_block(fd, 2 * MIB + PAGE, &a), 0);
	p = map_block(fd, &a);
	p[0] = 1;
	p[2 * MIB] = 2;
	block = share_fd(fd, a.out_handle, BUDDY_SHARE_READ_ONLY);
	expect(block >= 0);
	expect_eq(map_errno(block, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0),
		  -EACCES);
	q = map_fd(block, a.out_length, PROT_READ, 0);
	expect_eq(q[0], 1);
	expect_eq(q[2 * MIB], 2);
	expect(mprotect(q, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES);
	p[1] = 3;
	expect_eq(q[1], 3);
	munmap(p, a.out_length);
	munmap(q, a.out_length);
	close(block);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* Weights survive the engine: passed to another, whose owner then dies. */
TEST_F(device, a_shared_block_outlives_its_owner)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	int pair[2], block, status;
	char *p;
	pid_t pid;

	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		int own = device_open();
		struct buddy_alloc a;

		if (alloc_block(own, 3 * MIB, &a))
			_exit(1);
		p = map_block(own, &a);
		memset(p, 0x66, 3 * MIB);
		send_fd(pair[1], share_fd(own, a.out_handle, 0));
		pause();
	}
	block = receive_fd(pair[0]);
	expect(block >= 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status));
	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), 0);
	expect_eq(info.out_length, 3 * MIB);
	p = map_fd(block, 3 * MIB, PROT_READ | PROT_WRITE, 0);
	expect_eq(p[3 * MIB - 1], 0x66);
	expect_eq(get_stats(fd).out_used, 3 * MIB);
	close(block);
	/* the mapping alone keeps it, too */
	expect_eq(get_stats(fd).out_used, 3 * MIB);
	expect_eq(p[2 * MIB], 0x66);
	munmap(p, 3 * MIB);
	expect(wait_free(fd, region, 5));
	close(pair[0]);
	close(pair[1]);
}

/* On its way in a socket, read by nobody. */
TEST_F(device, a_block_fd_that_nobody_receives)
{
	struct buddy_alloc a;
	int pair[2], block;

	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	block = share_fd(fd, a.out_handle, 0);
	send_fd(pair[0], block);
	close(block);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_used, PAGE);
	close(pair[0]);
	close(pair[1]);
	expect(wait_free(fd, region, 5));
}

/* After the handle is gone the place is not found by its offset any more. */
TEST_F(device, freed_but_shared)
{
	struct buddy_alloc a;
	int block;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	block = share_fd(fd, a.out_handle, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(share_fd(fd, a.out_handle, 0), -ENOENT);
	expect(map_block(fd, &a) == MAP_FAILED && errno == ENXIO);
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(map_errno(block, PAGE, PROT_READ, MAP_SHARED, 0), 0);
	close(block);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, no_descriptor_left)
{
	expect_no_descriptor_left(BUDDY_IOC_SHARE);
}

TEST_F(device, a_reply_that_cannot_be_written)
{
	expect_reply_fault(BUDDY_IOC_SHARE);
}

TEST_HARNESS_MAIN
