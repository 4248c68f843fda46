// SPDX-License-Identifier: MIT
/*
 * process.c - rows of the I/O matrix: what one process does to the block that
 * another has mapped. The two share it, so each row looks at the result by its
 * own mapping.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "io.h"

/* A process that has the buffer mapped, has touched none of it, and waits. */
static pid_t other_start(bool traced)
{
	pid_t self = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != self)
		_exit(1);	/* the row has ended already */
	if (traced) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
	}
	for (;;)
		pause();
}

int process_readv(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	struct iovec local = { copy, b->length }, remote = { b->p, b->length };
	pid_t pid = other_start(false);

	MUST(copy && pid > 0);
	pattern_fill(b->p, b->length, 12);
	MUST(TRY(process_vm_readv(pid, &local, 1, &remote, 1, 0)) ==
	     (long long)b->length);
	MUST(pattern_is(copy, b->length, 12));
	return 0;
}

int process_writev(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	struct iovec local = { copy, b->length }, remote = { b->p, b->length };
	pid_t pid = other_start(false);

	MUST(copy && pid > 0);
	pattern_fill(copy, b->length, 13);
	MUST(TRY(process_vm_writev(pid, &local, 1, &remote, 1, 0)) ==
	     (long long)b->length);
	MUST(pattern_is(b->p, b->length, 13));
	return 0;
}

int process_ptrace(const struct buffer *b)
{
	pid_t pid = other_start(true);
	int status;

	MUST(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	for (uint64_t at = 0; at < b->length; at += PAGE) {
		uint64_t *word = (uint64_t *)(void *)(b->p + at + 8), seen = 0;

		*word = at + 14;
		/* the raw call, which stores the word and returns 0 */
		TRY(syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, word, &seen));
		MUST(seen == at + 14);
		TRY(ptrace(PTRACE_POKEDATA, pid, word, (void *)(at + 15)));
		MUST(*word == at + 15);
	}
	return 0;
}

static int open_mem(pid_t pid)
{
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	return open(name, O_RDWR | O_CLOEXEC);
}

int process_mem(const struct buffer *b)
{
	void *copy = plain_memory(b->length);
	pid_t pid = other_start(false);
	int mem = open_mem(pid);

	MUST(copy && pid > 0 && mem >= 0);
	pattern_fill(b->p, b->length, 16);
	MUST(TRY(pread(mem, copy, b->length, (off_t)(uintptr_t)b->p)) ==
	     (long long)b->length);
	MUST(pattern_is(copy, b->length, 16));
	pattern_fill(copy, b->length, 17);
	MUST(TRY(pwrite(mem, copy, b->length, (off_t)(uintptr_t)b->p)) ==
	     (long long)b->length);
	MUST(pattern_is(b->p, b->length, 17));
	return 0;
}

int process_dd(const struct buffer *b)
{
	const char *file = "/dev/shm/io_test";
	pid_t pid = other_start(false);
	char command[512];
	bool ok;

	MUST(pid > 0);
	pattern_fill(b->p, b->length, 18);
	snprintf(command, sizeof(command),
		 "exec 2>/dev/null; dd if=/proc/%d/mem of=%s bs=1M skip=%llu "
		 "count=%llu iflag=skip_bytes,count_bytes", pid, file,
		 (unsigned long long)(uintptr_t)b->p,
		 (unsigned long long)b->length);
	MUST(!system(command));
	memset(b->p, 0, b->length);
	snprintf(command, sizeof(command),
		 "exec 2>/dev/null; dd if=%s of=/proc/%d/mem bs=1M seek=%llu "
		 "oflag=seek_bytes conv=notrunc", file, pid,
		 (unsigned long long)(uintptr_t)b->p);
	ok = !system(command);
	unlink(file);
	MUST(ok);
	MUST(pattern_is(b->p, b->length, 18));
	return 0;
}

static long long futex(const void *word, int operation, uint32_t value)
{
	struct timespec limit = { .tv_sec = 20 };

	return syscall(SYS_futex, word, operation, value,
		       (operation & FUTEX_CMD_MASK) == FUTEX_WAIT ? &limit : NULL);
}

/* Wakes until somebody was there; the waiter may not be waiting yet. */
static int futex_wake(const void *word, int flags)
{
	for (int tries = 0; tries < 2000; tries++) {
		if (TRY(futex(word, FUTEX_WAKE | flags, 1)) == 1)
			return 0;
		usleep(10000);
	}
	MUST(!"nobody waits");
	return 0;
}

int futex_shared(const struct buffer *b)
{
	void *word = b->p + b->length - 64;
	int status;
	pid_t pid;

	memset(word, 0, 8);	/* the page is there: that is not what is wrong */
	pid = fork();
	if (!pid)
		_exit(futex(word, FUTEX_WAIT, 0) ? errno : 0);
	MUST(pid > 0);
	PART(futex_wake(word, 0));
	MUST(waitpid(pid, &status, 0) == pid && !status);
	return 0;
}

static void *wait_private(void *word)
{
	return futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0) ? word : NULL;
}

int futex_private(const struct buffer *b)
{
	void *word = b->p + b->length - 64, *failed;
	pthread_t thread;

	MUST(!pthread_create(&thread, NULL, wait_private, word));
	PART(futex_wake(word, FUTEX_PRIVATE_FLAG));
	MUST(!pthread_join(thread, &failed) && !failed);
	return 0;
}
