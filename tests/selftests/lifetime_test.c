// SPDX-License-Identifier: MIT
/*
 * lifetime_test.c - who keeps a block, until when, and what the next owner
 * sees: SIGKILL, exec, fork, dup, SCM_RIGHTS, free and close while mapped, and while
 * the kernel holds pages. rmmod of what is in use is in load_test and unload_test.
 * Needs root and the module.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/uio.h>

#include "ktest.h"

/* Runs @body in a child that is killed when it says it is ready. */
static void kill_child(void (*body)(int ready))
{
	int pipes[2], status;
	char c;
	pid_t pid;

	expect(!pipe(pipes));
	pid = fork();
	if (!pid) {
		close(pipes[0]);
		body(pipes[1]);
		_exit(1);
	}
	close(pipes[1]);
	expect_eq(read(pipes[0], &c, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(pipes[0]);
}

static void hold_1000(int ready)
{
	int own = device_open();

	for (int i = 0; i < 1000; i++) {
		struct buddy_alloc a;

		if (alloc_block(own, (1 + (uint64_t)i % 13) * PAGE, &a))
			_exit(2);
		/* half of them mapped, most of these written */
		if (i % 2) {
			char *p = map_block(own, &a);

			if (p == MAP_FAILED)
				_exit(3);
			if (i % 8)
				fill(p, 0xa5, a.out_length);
		}
	}
	if (write(ready, "x", 1) == 1)
		pause();
}

TEST_F(device, sigkill_with_1000_blocks)
{
	kill_child(hold_1000);
	expect(wait_free(fd, region, 20));
	expect_eq(get_stats(fd).out_blocks, 0);
}

/* Freed contents are never seen again, by nobody. */
TEST_F(device, contents_of_freed_blocks_are_never_seen)
{
	static const uint64_t lengths[] = {
		PAGE, 3 * PAGE, 16 * PAGE, 17 * PAGE, 2 * MIB, 5 * MIB + PAGE,
	};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct buddy_alloc a, b;
		uint64_t seen = 0;
		char *p;

		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		p = map_block(fd, &a);
		expect(p != MAP_FAILED);
		expect(is_zero(p, lengths[i]));
		fill(p, 0x5a, lengths[i]);
		munmap(p, lengths[i]);
		expect_eq(free_block(fd, a.out_handle), 0);
		/* another file takes the whole region and looks at all of it */
		int other = device_open();

		expect_eq(alloc_block(other, region, &b), 0);
		p = map_block(other, &b);
		expect(p != MAP_FAILED);
		expect(is_zero(p, region));
		seen += region;
		munmap(p, region);
		close(other);
		expect_eq(seen, region);
	}
}

TEST_F(device, free_while_mapped)
{
	struct buddy_alloc a, b;
	char *p;

	expect_eq(alloc_block(fd, 8 * PAGE, &a), 0);
	p = map_block(fd, &a);
	fill(p, 1, 8 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_used, 8 * PAGE);
	/* still ours, pages that were never touched too */
	fill(p, 2, 8 * PAGE);
	expect_eq(alloc_block(fd, region - 7 * PAGE, &b), -ENOMEM);
	munmap(p, 4 * PAGE);
	expect_eq(get_stats(fd).out_used, 8 * PAGE);
	fill(p + 4 * PAGE, 3, 4 * PAGE);
	munmap(p + 4 * PAGE, 4 * PAGE);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, close_while_mapped)
{
	int own = device_open();
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(own, 3 * MIB, &a), 0);
	p = map_block(own, &a);
	close(own);
	fill(p, 1, 3 * MIB);
	expect_eq(get_stats(fd).out_used, 3 * MIB);
	munmap(p, 3 * MIB);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, fork_shares_block_and_handle)
{
	struct buddy_alloc a;
	char *p;
	int status;
	pid_t pid;

	expect_eq(alloc_block(fd, 4 * PAGE, &a), 0);
	p = map_block(fd, &a);
	p[0] = 1;
	pid = fork();
	if (!pid) {
		/* shared memory, not a copy; and the handle is shared too */
		p[PAGE] = p[0] + 1;
		munmap(p, PAGE);
		_exit(free_block(fd, a.out_handle));
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(p[PAGE], 2);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	munmap(p, 4 * PAGE);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, a_childs_mapping_outlives_the_handle)
{
	struct buddy_alloc a;
	char *p;
	int status, go[2];
	pid_t pid;

	expect(!pipe(go));
	expect_eq(alloc_block(fd, 4 * PAGE, &a), 0);
	p = map_block(fd, &a);
	fill(p, 7, 4 * PAGE);
	pid = fork();
	if (!pid) {
		char c;

		if (read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(p[3 * PAGE] == 7 ? 0 : 2);
	}
	munmap(p, 4 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_used, 4 * PAGE);
	expect_eq(write(go[1], "x", 1), 1);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect(wait_free(fd, region, 5));
	close(go[0]);
	close(go[1]);
}

TEST_F(device, dup_keeps_the_blocks)
{
	int own = device_open(), copy = dup(own);
	struct buddy_alloc a;

	expect_eq(alloc_block(own, PAGE, &a), 0);
	close(own);
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(free_block(copy, a.out_handle), 0);
	expect_eq(alloc_block(copy, PAGE, &a), 0);
	close(copy);
	expect(wait_free(fd, region, 5));
}

/* The node opened without O_CLOEXEC goes through exec with its blocks. */
TEST_F(device, exec_keeps_an_inherited_file)
{
	int own = open("/dev/buddy", O_RDWR), status;
	struct buddy_alloc a;
	pid_t pid;

	expect_eq(alloc_block(own, PAGE, &a), 0);
	pid = fork();
	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(get_stats(fd).out_used, PAGE);
	close(own);
	expect(wait_free(fd, region, 5));
}

/* A file on its way through a socket keeps its blocks; dropped, it frees them. */
TEST_F(device, scm_rights_keeps_the_blocks)
{
	int pair[2], own = device_open();
	struct buddy_alloc a;

	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	expect_eq(alloc_block(own, PAGE, &a), 0);
	send_fd(pair[0], own);
	close(own);
	expect_eq(get_stats(fd).out_used, PAGE);
	close(pair[0]);
	close(pair[1]);
	expect(wait_free(fd, region, 5));
}

/* Who receives it has the file: its handles, its blocks, and their end. */
TEST_F(device, scm_rights_hands_the_blocks_over)
{
	struct buddy_alloc a;
	int pair[2], file, status;
	char *p;
	pid_t pid;

	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		int own = device_open();

		if (alloc_block(own, 3 * PAGE, &a))
			_exit(1);
		p = map_block(own, &a);
		fill(p, 5, 3 * PAGE);
		send_fd(pair[1], own);
		_exit(write(pair[1], &a, sizeof(a)) != sizeof(a));
	}
	file = receive_fd(pair[0]);
	expect(file >= 0);
	expect_eq(read(pair[0], &a, sizeof(a)), sizeof(a));
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(get_stats(fd).out_used, 3 * PAGE);
	p = map_block(file, &a);
	expect(p != MAP_FAILED);
	expect_eq(p[3 * PAGE - 1], 5);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	expect_eq(free_block(file, a.out_handle), 0);
	munmap(p, 3 * PAGE);
	expect(wait_free(fd, region, 5));
	close(file);
	close(pair[0]);
	close(pair[1]);
}

/* Pages in a pipe: not mapped, not owned, and yet not free. */
TEST_F(device, free_while_pinned_in_a_pipe)
{
	struct buddy_alloc a, b;
	struct iovec io;
	char *p, *read_back = malloc(16 * PAGE);
	int pipes[2];
	double freed;

	expect(!pipe(pipes));
	expect_eq(fcntl(pipes[1], F_SETPIPE_SZ, 64 * PAGE), 64 * PAGE);
	expect_eq(alloc_block(fd, 3 * MIB, &a), 0);
	p = map_block(fd, &a);
	fill(p, 0x77, 3 * MIB);
	io = (struct iovec){ p + 100 * PAGE, 16 * PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), 16 * PAGE);
	munmap(p, 3 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);

	/* an allocation has it checked: the unit of these pages is pinned, the rest is free */
	expect_eq(alloc_block(fd, region, &b), -ENOMEM);
	expect_eq(b.out_returning, 2 * MIB);
	expect_eq(get_stats(fd).out_quarantined, 2 * MIB);
	usleep(300000);
	expect_eq(get_stats(fd).out_quarantined, 2 * MIB);
	expect_eq(get_stats(fd).out_used, 0);

	/* nobody wrote to it */
	expect_eq(read(pipes[0], read_back, 16 * PAGE), 16 * PAGE);
	for (size_t i = 0; i < 16 * PAGE; i++)
		if (read_back[i] != 0x77) {
			expect(!"contents of a held page changed");
			break;
		}
	freed = now();
	expect(wait_free(fd, region, 5));
	/* the longest interval is 1 s; the rest is for a slow machine */
	expect(now() - freed < 3);
	expect_eq(get_stats(fd).out_quarantined, 0);
	free(read_back);
	close(pipes[0]);
	close(pipes[1]);
}

/* A page of a block in a pipe, and nothing else of it any more. Return: its end. */
static int hold_by_pipe(int file, uint64_t length)
{
	struct buddy_alloc a;
	struct iovec io;
	int pipes[2];
	char *p;

	if (pipe(pipes) || alloc_block(file, length, &a))
		return -1;
	p = map_block(file, &a);
	fill(p, 0x77, length);
	io = (struct iovec){ p + length - PAGE, PAGE };
	if (vmsplice(pipes[1], &io, 1, 0) != PAGE)
		return -1;
	munmap(p, length);
	close(pipes[1]);
	return pipes[0];
}

static void expect_held_then_free(int end, uint64_t length)
{
	struct buddy_alloc b;
	char back[PAGE];

	expect_eq(alloc_block(fd, region, &b), -ENOMEM);
	expect_eq(get_stats(fd).out_quarantined, length);
	expect_eq(get_stats(fd).out_used, 0);
	expect_eq(read(end, back, PAGE), PAGE);
	expect(back[0] == 0x77 && !memcmp(back, back + 1, PAGE - 1));
	expect(wait_free(fd, region, 5));
	close(end);
}

TEST_F(device, close_while_pinned_in_a_pipe)
{
	int own = device_open(), end = hold_by_pipe(own, 2 * MIB);

	expect(end >= 0);
	close(own);
	expect_held_then_free(end, 2 * MIB);
}

TEST_F(device, sigkill_while_pinned_in_a_pipe)
{
	int pair[2], end, status;
	pid_t pid;

	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		send_fd(pair[1], hold_by_pipe(device_open(), 2 * MIB));
		pause();
	}
	close(pair[1]);
	end = receive_fd(pair[0]);
	expect(end >= 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	expect_held_then_free(end, 2 * MIB);
	close(pair[0]);
}

/* The allocation itself finds what was let go, without waiting for a poll. */
TEST_F(device, an_allocation_empties_the_quarantine)
{
	struct buddy_alloc a, b;
	struct iovec io;
	char *p;
	int pipes[2];

	expect(!pipe(pipes));
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	p = map_block(fd, &a);
	io = (struct iovec){ p, PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	munmap(p, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_quarantined, PAGE);
	usleep(700000);	/* the next poll is far away now */
	close(pipes[0]);
	close(pipes[1]);
	expect_eq(alloc_block(fd, region, &b), 0);
	expect_eq(free_block(fd, b.out_handle), 0);
}

TEST_F(device, direct_io)
{
	const char *name = getenv("BUDDY_TEST_DISK");
	int disk = name ? open(name, O_RDWR | O_DIRECT) : -1;
	struct buddy_alloc a;
	char *p, *q;

	if (disk < 0)
		skip("BUDDY_TEST_DISK names no disk to write to");
	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	p = map_block(fd, &a);
	fill(p, 0x31, MIB);
	expect_eq(pwrite(disk, p, MIB, 0), MIB);
	q = p + MIB;
	expect_eq(pread(disk, q, MIB, 0), MIB);
	expect(!memcmp(p, q, MIB));
	munmap(p, 2 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	close(disk);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, process_vm_readv)
{
	struct buddy_alloc a;
	char *p, copy[PAGE];
	int status, ready[2];
	pid_t pid;

	expect(!pipe(ready));
	expect_eq(alloc_block(fd, 4 * PAGE, &a), 0);
	p = map_block(fd, &a);
	pid = fork();
	if (!pid) {
		fill(p, 0x42, 4 * PAGE);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	expect_eq(read(ready[0], copy, 1), 1);
	struct iovec local = { copy, PAGE }, remote = { p + PAGE, PAGE };

	expect_eq(process_vm_readv(pid, &local, 1, &remote, 1, 0), PAGE);
	expect_eq(copy[77], 0x42);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	munmap(p, 4 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	close(ready[0]);
	close(ready[1]);
}

TEST_F(device, madvise_mlock_mremap_holes)
{
	struct buddy_alloc a;
	char *p, *q;

	expect_eq(alloc_block(fd, 3 * MIB, &a), 0);
	p = map_block(fd, &a);
	fill(p, 9, 3 * MIB);
	/* like a file: dropping the mapping keeps the contents */
	expect(!madvise(p + MIB, PAGE, MADV_DONTNEED));
	expect_eq(p[MIB], 9);
	expect(!madvise(p, MIB, MADV_DONTNEED));
	expect(!madvise(p, 3 * MIB, MADV_POPULATE_WRITE));
	expect_eq(p[0], 9);
	expect(!mlock(p, 3 * MIB));
	expect(!munlock(p, 3 * MIB));
	q = mremap(p, 3 * MIB, 3 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, p + 64 * MIB);
	expect(q == p + 64 * MIB);
	expect_eq(q[2 * MIB], 9);
	q = mremap(q, 3 * MIB, MIB, 0);
	expect_eq(q[0], 9);
	munmap(q, MIB);
	p = map_block(fd, &a);
	expect_eq(p[3 * MIB - 1], 9);
	/* holes, and faults around them */
	munmap(p + PAGE, PAGE);
	expect(!madvise(p, PAGE, MADV_DONTNEED));
	expect_eq(p[0], 9);
	expect_eq(p[2 * PAGE], 9);
	munmap(p, 3 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* The opener is gone, a child has the file: no pid, which may be another's. */
TEST_F(device, no_pid_of_a_process_that_is_gone)
{
	struct buddy_extent_entry e[8];
	int ready[2], status, used = 0;
	pid_t opener, heir;
	uint32_t count;

	expect(!pipe(ready));
	opener = fork();
	if (!opener) {
		int own = device_open();
		struct buddy_alloc a;
		pid_t child;

		if (alloc_block(own, PAGE, &a))
			_exit(1);
		child = fork();
		if (!child)
			pause();
		_exit(write(ready[1], &child, sizeof(child)) != sizeof(child));
	}
	expect_eq(read(ready[0], &heir, sizeof(heir)), sizeof(heir));
	waitpid(opener, &status, 0);
	expect_eq(status, 0);
	count = read_extents(fd, e, 8);
	for (uint32_t i = 0; i < count; i++) {
		used += e[i].state == BUDDY_EXTENT_USED;
		expect_eq(e[i].pid, 0);
	}
	expect_eq(used, 1);
	kill(heir, SIGKILL);
	expect(wait_free(fd, region, 5));
	close(ready[0]);
	close(ready[1]);
}

TEST_HARNESS_MAIN
