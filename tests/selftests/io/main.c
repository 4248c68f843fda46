// SPDX-License-Identifier: MIT
/*
 * main.c - io_test: the table of the I/O matrix's rows that are system calls,
 * their buffers, and the verdict on each. Needs root, the module, and
 * buddy_peer.ko.
 *
 * Usage: io_test DISK            all rows, TAP
 *        io_test --errno NUMBER  the name of an errno
 *
 * A test is a row, on buffers of four kinds. Its line "#| ROW | CELL | CHECK"
 * says what was seen; the test fails where that is not what this table says,
 * success included. After each the whole region must be free again.
 */
#define _GNU_SOURCE
#include <sys/utsname.h>

#include "io.h"

const char *io_disk;

/* One page more than 2 MiB is what fio maps for 2 MiB. */
static const struct buffer buffers[] = {
	{ .name = "small", .length = 3 * PAGE },
	{ .name = "large", .length = 4 * MIB + 3 * PAGE },
	{ .name = "scattered", .length = 8 * MIB + 3 * PAGE, .pieces = true },
	{ .name = "plain", .length = 2 * MIB + PAGE, .plain = true },
};
#define BUFFERS 4

static const struct row rows[] = {
	{ "whole units mapped by 2 MiB entries", map_huge, SMALL_PAGES, 0,
	  "FilePmdMapped in smaps, as INFO promises" },
	{ "msync(MS_SYNC)", map_msync, 0, 0,
	  "its return value" },
	{ "O_DIRECT write", disk_write, 0, 0,
	  "read back into other memory" },
	{ "O_DIRECT read", disk_read, 0, 0,
	  "into pages never touched before, against what was written" },
	{ "O_DIRECT pwritev2, preadv2", disk_vectored, 0, 0,
	  "up to 1024 segments of 512 bytes and more, back to front" },
	{ "AIO (io_submit)", disk_aio, 0, 0,
	  "8 writes in flight, then 8 reads, O_DIRECT" },
	{ "io_uring", uring_plain, 0, 0,
	  "WRITE and READ of the whole buffer, O_DIRECT" },
	{ "io_uring, registered buffers", uring_registered, -EOPNOTSUPP, 0,
	  "WRITE_FIXED and READ_FIXED of the whole buffer, O_DIRECT" },
	{ "io_uring, SEND_ZC over TCP", uring_send_zc, 0, 0,
	  "received over loopback; the kernel's notification came" },
	{ "read, write of a file", pipe_file, 0, 0,
	  "tmpfs, there and back" },
	{ "vmsplice", pipe_vmsplice, 0, 0,
	  "a change after the call is seen in the pipe: no copy" },
	{ "vmsplice, tee, splice", pipe_onward, 0, 0,
	  "by two pipes to a file and to a socket" },
	{ "process_vm_readv", process_readv, 0, 0,
	  "of another process's block" },
	{ "process_vm_writev", process_writev, 0, 0,
	  "into another process's block" },
	{ "ptrace", process_ptrace, 0, 0,
	  "PEEKDATA and POKEDATA in each page of a stopped process" },
	{ "/proc/PID/mem", process_mem, 0, 0,
	  "another process's block, read and written whole" },
	{ "dd by /proc/PID/mem", process_dd, 0, 0,
	  "dd cannot map a buffer; so it reads and writes another's block" },
	{ "pin_user_pages, FOLL_LONGTERM", pin_longterm, 0, 0,
	  "a device writes and reads the block, also when it is freed" },
	{ "futex between processes", futex_shared, -EFAULT, -EFAULT,
	  "FUTEX_WAIT and FUTEX_WAKE" },
	{ "futex between threads", futex_private, 0, 0,
	  "FUTEX_PRIVATE_FLAG: a waiter was woken" },
	{ "AF_UNIX send, recv", socket_unix, 0, 0,
	  "SOCK_STREAM, from the block and into it" },
	{ "MSG_ZEROCOPY over TCP", socket_zerocopy, 0, 0,
	  "received over loopback; the kernel's notification came" },
	{ "AF_XDP umem", socket_xdp, 0, 0,
	  "registered (FOLL_LONGTERM); freed, it waits in quarantine" },
};

#define UNITS 64	/* of 2 MiB, at most, of the region */

/* With every second unit in use there is no range of two. */
static int alloc_pieces(const struct buffer *b, struct buddy_alloc *a)
{
	uint64_t units = get_stats(b->fd).out_region / (2 * MIB);
	uint64_t fence[UNITS];

	MUST(units <= UNITS);
	for (uint64_t i = 0; i < units; i++) {
		MUST(!alloc_block(b->fd, 2 * MIB, a));
		fence[i] = a->out_handle;
	}
	for (uint64_t i = 0; i < units; i += 2)
		MUST(!free_block(b->fd, fence[i]));
	*a = (struct buddy_alloc){
		.size = sizeof(*a),
		.flags = BUDDY_ALLOC_SCATTER,
		.length = b->length,
	};
	MUST(get_stats(b->fd).out_largest == 2 * MIB);
	MUST(!call(b->fd, BUDDY_IOC_ALLOC, a));
	for (uint64_t i = 1; i < units; i += 2)
		MUST(!free_block(b->fd, fence[i]));
	return 0;
}

static int map_buffer(struct buffer *b)
{
	struct buddy_alloc a;

	b->fd = device_open();
	if (b->plain) {
		b->p = mmap(NULL, b->length, PROT_READ | PROT_WRITE, MAP_SHARED,
			    b->fd, 0);
	} else {
		if (b->pieces)
			PART(alloc_pieces(b, &a));
		else
			MUST(!alloc_block(b->fd, b->length, &a));
		b->handle = a.out_handle;
		b->p = map_block(b->fd, &a);
	}
	MUST(b->p != MAP_FAILED);
	return 0;
}

/* The outcome of @row on a fresh buffer like @kind, in a process of its own. */
static int try(const struct row *row, const struct buffer *kind)
{
	struct buffer b = *kind;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int outcome;

		alarm(120);
		outcome = map_buffer(&b) ?: row->run(&b);
		fflush(stdout);
		_exit(outcome < 0 ? -outcome : outcome);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		printf("# %s, %s: ended by signal %d\n", row->name, b.name,
		       WTERMSIG(status));
		return WRONG;
	}
	status = WEXITSTATUS(status);
	return status >= SMALL_PAGES ? status : -status;
}

static const char *outcome_name(int outcome)
{
	static char text[64];

	if (!outcome)
		return "yes";
	if (outcome == WRONG)
		return "WRONG";
	if (outcome == SMALL_PAGES)
		return "no: 4 KiB";
	snprintf(text, sizeof(text), "no: %s",
		 strerrorname_np(-outcome) ?: "?");
	return text;
}

/* What the document says of this kernel: one word where the buffers agree. */
static void print_cell(const struct row *row, const int *outcomes)
{
	bool same = true;

	for (int i = 1; i < BUFFERS; i++)
		same = same && outcomes[i] == outcomes[0];
	printf("#| %s | ", row->name);
	for (int i = 0; i < (same ? 1 : BUFFERS); i++)
		printf("%s%s%s%s", i ? ", " : "", same ? "" : buffers[i].name,
		       same ? "" : " ", outcome_name(outcomes[i]));
	printf(" | %s\n", row->check);
}

static int wanted(const struct row *row)
{
	struct utsname u;

	uname(&u);
	return strncmp(u.release, "6.1.", 4) ? row->on_later : row->on_6_1;
}

static bool row_is_ok(const struct row *row)
{
	int outcomes[BUFFERS];

	tap_failures = 0;
	for (int i = 0; i < BUFFERS; i++) {
		outcomes[i] = try(row, &buffers[i]);
		expect_empty();
		if (tap_failures) {
			printf("Bail out! after %s on a %s buffer\n", row->name,
			       buffers[i].name);
			exit(1);
		}
	}
	print_cell(row, outcomes);
	for (int i = 0; i < BUFFERS; i++) {
		if (outcomes[i] == wanted(row))
			continue;
		printf("# on a %s buffer: %s, ", buffers[i].name,
		       outcome_name(outcomes[i]));
		printf("expected %s\n", outcome_name(wanted(row)));
		tap_fail();
	}
	return !tap_failures;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 3 && !strcmp(argv[1], "--errno")) {
		puts(strerrorname_np(atoi(argv[2])) ?: "?");
		return 0;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: io_test DISK | --errno NUMBER\n");
		return 2;
	}
	io_disk = argv[1];
	printf("1..%zu\n", sizeof(rows) / sizeof(rows[0]));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok = row_is_ok(&rows[i]);

		printf("%sok %zu - %s\n", ok ? "" : "not ", i + 1, rows[i].name);
		fflush(stdout);
		failed += !ok;
	}
	return failed ? 1 : 0;
}
