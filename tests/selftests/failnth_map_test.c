// SPDX-License-Identifier: MIT
/*
 * failnth_map_test.c - each allocation fails once of what files, mappings and processes
 * do with blocks: open, close, mmap, faults, splits, fork, SCM_RIGHTS, the end of a
 * process. Needs root, a kernel with FAULT_INJECTION and the module.
 */
#define _GNU_SOURCE
#include <sys/uio.h>

#include "failnth_sweep.h"

#define RW	(PROT_READ | PROT_WRITE)

static struct buddy_alloc block;
static int other = -1;		/* a second open node */
static int made = -1;		/* a block fd, or a dma-buf */
static int sockets[2];
static char *view;		/* of the block */
static char *room;		/* address space for it */
static char buffer[8 * PAGE];

static void take_full(void)
{
	char *p;

	must(!alloc_block(fd, self->length, &block));
	p = map_block(fd, &block);
	must(p != MAP_FAILED);
	fill(p, FILLED, block.out_length);
	munmap(p, block.out_length);
}

static void free_it(void)
{
	must(!free_block(fd, block.out_handle));
}

/*
 * open, close
 */

static int run_open(void)
{
	other = open("/dev/buddy", (int)self->flags | O_CLOEXEC);
	return other < 0 ? -errno : 0;
}

static void check_open(void)
{
	struct buddy_alloc a;

	must(alloc_block(other, PAGE, &a) == (self->flags == O_RDWR ? 0 : -EBADF));
}

static void close_other(void)
{
	close(other);
	other = -1;
}

/* A file with a block of each kind, all to be zeroed; one is mapped by nobody. */
static void use_file(int file)
{
	static const uint64_t lengths[] = { 3 * PAGE, 2 * MIB, 5 * MIB + PAGE };
	struct buddy_alloc a;
	char *p;

	for (int i = 0; i < 3; i++) {
		must(!alloc_block(file, lengths[i], &a));
		p = map_block(file, &a);
		must(p != MAP_FAILED);
		fill(p, FILLED, PAGE);
		munmap(p, a.out_length);
	}
	must(!alloc_block(file, 7 * PAGE, &a));
}

static void prepare_close(void)
{
	other = device_open();
	use_file(other);
}

static int run_close(void)
{
	return result(close(other));
}

/*
 * mmap
 */

static int view_result(void)
{
	return view == MAP_FAILED ? -errno : 0;
}

static int run_mmap(void)
{
	view = mmap(NULL, self->length, RW, MAP_SHARED | (int)self->flags, fd,
		    (off_t)block.out_offset);
	return view_result();
}

static int run_mmap_part(void)
{
	view = mmap(NULL, self->length - 2 * PAGE, RW, MAP_SHARED, fd,
		    (off_t)(block.out_offset + PAGE));
	return view_result();
}

static int run_mmap_zero(void)
{
	view = mmap(NULL, self->length, RW, MAP_SHARED, fd, 0);
	return view_result();
}

static int run_mmap_made(void)
{
	view = mmap(NULL, self->length, RW, MAP_SHARED, made, 0);
	return view_result();
}

static void check_view(void)
{
	must(intact(view, self->length));
}

static void check_part(void)
{
	must(intact(view, self->length - 2 * PAGE));
}

static void check_view_zero(void)
{
	must(is_zero(view, self->length));
	fill(view, FILLED, self->length);
}

static void unmap_view(void)
{
	munmap(view, self->length);
}

static void undo_mmap(void)
{
	unmap_view();
	free_it();
}

static void undo_part(void)
{
	munmap(view, self->length - 2 * PAGE);
	free_it();
}

static void prepare_made(void)
{
	take_full();
	made = share_block(fd, self->command, block.out_handle, 0);
	must(made >= 0);
}

static void undo_made(void)
{
	close(made);
	undo_mmap();
}

/*
 * Faults. The view is mapped and not touched.
 */

static void prepare_view(void)
{
	take_full();
	view = map_skewed(fd, &block, self->align);
	must(view != MAP_FAILED);
}

/* What faults again until it has its page tables cannot fail. */
static int run_touch(void)
{
	for (uint64_t at = 0; at < self->length; at += PAGE)
		((volatile char *)view)[at] = FILLED;
	return 0;
}

static int run_populate(void)
{
	return result(madvise(view, self->length, MADV_POPULATE_WRITE));
}

static void failed_view(int err)
{
	(void)err;
	check_view();
}

static void prepare_scattered_view(void)
{
	must(!scatter_block(fd, self->length, &block));
	view = map_skewed(fd, &block, 0);
	must(view != MAP_FAILED);
	fill(view, FILLED, self->length);
	munmap(view, self->length);
	view = map_skewed(fd, &block, 0);
}

/*
 * Calls on a view that is touched
 */

static void prepare_touched(void)
{
	prepare_view();
	check_view();
}

static int run_split(void)
{
	return result(munmap(view + 2 * PAGE, 3 * PAGE));
}

static void check_split(void)
{
	must(intact(view, 2 * PAGE));
	must(intact(view + 5 * PAGE, self->length - 5 * PAGE));
}

static int run_mprotect(void)
{
	return result(mprotect(view + 2 * PAGE, 3 * PAGE, PROT_READ));
}

static void begin_room(void)
{
	room = mmap(NULL, self->length + 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
}

static void end_room(void)
{
	munmap(room, self->length + 4 * MIB);
}

/* To where its alignment is another. */
static int run_mremap(void)
{
	char *moved = mremap(view, self->length, self->length,
			     MREMAP_MAYMOVE | MREMAP_FIXED, room + PAGE);

	if (moved == MAP_FAILED)
		return -errno;
	view = moved;
	return 0;
}

static int run_fork(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(view[0] == FILLED && view[self->length - 1] == FILLED ? 0 : 1);
	while (waitpid(pid, &status, 0) < 0)
		;
	must(!status);
	return 0;
}

static int run_process_vm_readv(void)
{
	struct iovec to = { buffer, sizeof(buffer) }, from = { view, sizeof(buffer) };
	ssize_t got;

	memset(buffer, 0, sizeof(buffer));
	got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
	if (got < 0)
		return -errno;
	/* what a fault cuts short says so by its length */
	if (got < (ssize_t)sizeof(buffer))
		return -EFAULT;
	must(intact(buffer, sizeof(buffer)));
	return 0;
}

/*
 * A block fd goes through a socket
 */

static void begin_sockets(void)
{
	must(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
}

static void end_sockets(void)
{
	close(sockets[0]);
	close(sockets[1]);
}

/* A message whose descriptor could not be told arrives without it. */
static int run_pass(void)
{
	int err = try_send_fd(sockets[0], made);

	if (err)
		return err;
	errno = ENOMEM;
	other = receive_fd(sockets[1]);
	return other < 0 ? -errno : 0;
}

static void drain(int err)
{
	char byte;

	(void)err;
	recv(sockets[1], &byte, 1, MSG_DONTWAIT);
}

static void check_passed(void)
{
	view = mmap(NULL, self->length, RW, MAP_SHARED, other, 0);
	must(view != MAP_FAILED);
	check_view();
	unmap_view();
}

static void undo_pass(void)
{
	close_other();
	close(made);
	free_it();
}

/*
 * The end of a process that has all of it
 */

static _Noreturn void live_and_die(void)
{
	struct buddy_alloc a;
	char text[16], *p;
	int length = snprintf(text, sizeof(text), "%d", nth);

	other = device_open();
	use_file(other);
	must(!alloc_block(other, 2 * MIB + PAGE, &a));
	made = share_block(other, BUDDY_IOC_SHARE, a.out_handle, 0);
	p = mmap(NULL, 2 * MIB, RW, MAP_SHARED, made, 0);
	fill(p, FILLED, 2 * MIB);
	made = share_block(other, BUDDY_IOC_DMABUF, a.out_handle, 0);
	p = mmap(NULL, PAGE, RW, MAP_SHARED, made, 0);
	p[0] = 1;
	p = mmap(NULL, 9 * PAGE, RW, MAP_SHARED, other, 0);
	p[0] = 1;
	munmap(p + PAGE, PAGE);
	fail_nth_file = open("/proc/thread-self/fail-nth", O_RDWR);
	if (problems || pwrite(fail_nth_file, text, (size_t)length, 0) != length)
		_exit(1);
	if (self->flags)
		_exit(0);
	kill(getpid(), SIGKILL);
	_exit(1);
}

/* What is left of its count is read from the zombie. */
static int run_end(void)
{
	char path[64], text[16] = { 0 };
	siginfo_t info;
	int status, file;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		live_and_die();
	must(!waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	snprintf(path, sizeof(path), "/proc/%d/fail-nth", (int)pid);
	file = open(path, O_RDONLY | O_CLOEXEC);
	must(file >= 0 && pread(file, text, sizeof(text) - 1, 0) > 0);
	close(file);
	fired_there = !atoi(text);
	waitpid(pid, &status, 0);
	return self->flags ? status : status != SIGKILL;
}

#define MMAP(_run, _length) .prepare = take_full, .run = (_run), .check = check_view,	\
			.undo = undo_mmap, .length = (_length), .may = { ENOMEM }
#define MMAP_MADE(_how)	.prepare = prepare_made, .run = run_mmap_made,		\
			.check = check_view, .undo = undo_made,			\
			.length = 2 * MIB + PAGE, .command = (_how), .may = { ENOMEM }
#define TOUCH(_length)	.prepare = prepare_view, .run = run_touch,		\
			.check = check_view, .undo = undo_mmap, .length = (_length)
#define POPULATE(_length) .prepare = prepare_view, .run = run_populate,		\
			.failed = failed_view, .check = check_view,		\
			.undo = undo_mmap, .length = (_length), .may = { ENOMEM, EFAULT }
#define TOUCHED(_run, _length) .prepare = prepare_touched, .run = (_run),	\
			.failed = failed_view, .length = (_length)

static const struct op ops[] = {
	{ "open", .run = run_open, .check = check_open, .undo = close_other,
	  .flags = O_RDWR, .may = { ENOMEM, EFAULT } },
	{ "open, read-only", .run = run_open, .check = check_open, .undo = close_other,
	  .flags = O_RDONLY, .may = { ENOMEM, EFAULT } },
	{ "close, with blocks", .prepare = prepare_close, .run = run_close },
	{ "mmap, small", MMAP(run_mmap, 3 * PAGE) },
	{ "mmap, with a tail", MMAP(run_mmap, 2 * MIB + PAGE) },
	{ "mmap, in part", .prepare = take_full, .run = run_mmap_part,
	  .check = check_part, .undo = undo_part, .length = 2 * MIB + PAGE,
	  .may = { ENOMEM } },
	{ "mmap, populated", MMAP(run_mmap, 2 * MIB + PAGE), .flags = MAP_POPULATE },
	{ "mmap at 0, small", .run = run_mmap_zero, .check = check_view_zero,
	  .undo = unmap_view, .length = 3 * PAGE, .may = { ENOMEM } },
	{ "mmap at 0, with a tail", .run = run_mmap_zero, .check = check_view_zero,
	  .undo = unmap_view, .length = 2 * MIB + PAGE, .may = { ENOMEM } },
	{ "mmap of a block fd", MMAP_MADE(BUDDY_IOC_SHARE) },
	{ "mmap of a dma-buf", MMAP_MADE(BUDDY_IOC_DMABUF) },
	{ "faults, small", TOUCH(9 * PAGE) },
	{ "faults, huge", TOUCH(4 * MIB) },
	{ "faults, with a tail", TOUCH(2 * MIB + 2 * PAGE) },
	{ "faults, not aligned", TOUCH(4 * MIB), .align = PAGE },
	{ "populate, small", POPULATE(9 * PAGE) },
	{ "populate, huge", POPULATE(4 * MIB) },
	{ "populate, with a tail", POPULATE(2 * MIB + 2 * PAGE) },
	{ "populate, not aligned", POPULATE(4 * MIB), .align = PAGE },
	{ "populate, scattered", .begin = fence_up_all, .prepare = prepare_scattered_view,
	  .run = run_populate, .failed = failed_view, .check = check_view,
	  .undo = undo_mmap, .end = fence_down_all, .length = 6 * MIB + PAGE,
	  .may = { ENOMEM, EFAULT } },
	{ "munmap in the middle", TOUCHED(run_split, 8 * PAGE), .check = check_split,
	  .undo = undo_mmap, .may = { ENOMEM } },
	{ "munmap in a huge page", TOUCHED(run_split, 2 * MIB), .check = check_split,
	  .undo = undo_mmap, .may = { ENOMEM } },
	{ "mprotect in the middle", TOUCHED(run_mprotect, 2 * MIB), .check = check_view,
	  .undo = undo_mmap, .may = { ENOMEM } },
	{ "mremap", TOUCHED(run_mremap, 2 * MIB + PAGE), .check = check_view,
	  .undo = undo_mmap, .begin = begin_room, .end = end_room, .may = { ENOMEM } },
	{ "fork", TOUCHED(run_fork, 2 * MIB + PAGE), .check = check_view,
	  .undo = undo_mmap, .may = { ENOMEM, EAGAIN } },
	{ "process_vm_readv", TOUCHED(run_process_vm_readv, 8 * PAGE),
	  .check = check_view, .undo = undo_mmap, .may = { ENOMEM, EFAULT } },
	{ "SCM_RIGHTS", .begin = begin_sockets, .prepare = prepare_made, .run = run_pass,
	  .failed = drain, .check = check_passed, .undo = undo_pass, .end = end_sockets,
	  .length = 3 * PAGE, .command = BUDDY_IOC_SHARE,
	  .may = { ENOMEM, EFAULT, ENOBUFS } },
	{ "exit of a process that has all of it", .run = run_end, .arms_itself = true,
	  .flags = 1 },
	{ "SIGKILL of it", .run = run_end, .arms_itself = true },
};

/* Usage: failnth_map_test [PART_OF_A_NAME] */
int main(int argc, char **argv)
{
	return sweep_all(ops, TAP_COUNT(ops), argc > 1 ? argv[1] : "");
}
