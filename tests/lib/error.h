/* SPDX-License-Identifier: MIT */
/*
 * error.h - what the tests of buddy_error() have in common: each failure is told as its
 * operation, its cause, and what would have worked.
 */
#ifndef TEST_ERROR_H
#define TEST_ERROR_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"

#define NOBODY	65534

/* The last failure is told with all of these; the last is NULL. */
static inline void check_text(int line, const char *const *parts)
{
	const char *text = buddy_error();

	for (; *parts; parts++)
		if (!strstr(text, *parts) && tap_fail())
			printf("# line %d: no \"%s\" in \"%s\"\n", line, *parts, text);
}

#define says(call, error, ...)							\
	do {									\
		expect_eq(call, error);						\
		check_text(__LINE__, (const char *const[]){ __VA_ARGS__, NULL });	\
	} while (0)

static inline void in_child(void (*run)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run();
		fflush(stdout);
		_exit(tap_failures != 0);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

static inline int open_node(const char *path)
{
	struct buddy_dev *d;

	return buddy_dev_open(&d, BUDDY_BACKEND_DEVICE, path, 0);
}

static inline bool on_device(void)
{
	return backend == BUDDY_BACKEND_DEVICE;
}

/* What stands for the place of the blocks in a text. */
static inline const char *place(void)
{
	return on_device() ? "/dev/buddy" : "the process backend";
}

/* Calls that a filter refuses, or traps: mmap() with all of @map_flags, personality(). */
static inline bool filter(uint32_t map_flags, uint32_t action)
{
	/* low words: little endian */
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 4, 0),
#ifdef SYS_mmap2
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap2, 0, 4),
#else
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
#endif
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, map_flags),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, map_flags, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]),
					    (struct sock_filter *)code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#endif /* TEST_ERROR_H */
