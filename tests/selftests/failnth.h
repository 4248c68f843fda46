/* SPDX-License-Identifier: MIT */
/*
 * failnth.h - making an allocation of the kernel fail: what the programs share that
 * do it to the driver. Needs a kernel with FAULT_INJECTION, and root.
 *
 * The kernel counts, for a thread that has armed itself, each allocation (slab, pages)
 * and each copy from and to the user that may fail, and fails the n-th: once. So a call
 * is repeated with n = 1, 2, ... until it is over before its n-th; then each of them
 * has failed once. The idea is that of the kernel's selftest for iommufd.
 */
#ifndef FAILNTH_H
#define FAILNTH_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define DEBUGFS	"/sys/kernel/debug/"

static int problems;		/* of the case that runs */
static int fail_nth_file = -1;

/* What is wrong; the first few of a case are printed. */
__attribute__((format(printf, 1, 2)))
static inline void problem(const char *format, ...)
{
	va_list args;

	if (++problems > 8)
		return;
	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

#define must(cond)							\
	do {								\
		if (!(cond))						\
			problem("%s:%d: expected: %s", __FILE__,	\
				__LINE__, #cond);			\
	} while (0)

static inline int write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (file < 0)
		return -errno;
	if (write(file, text, strlen(text)) < 0)
		err = -errno;
	close(file);
	return err;
}

static inline int set_attribute(const char *kind, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", kind, name);
	return write_text(path, value);
}

/*
 * The kernel itself writes to the memory of a thread that it interrupted, where libc
 * has registered some (rseq). After fork() that may need a page; where its allocation
 * is the n-th, the thread gets SIGSEGV. So begin again, without.
 */
__attribute__((constructor))
static void without_rseq(int argc, char **argv)
{
	(void)argc;
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
	execv("/proc/self/exe", argv);
}

static const char *const inject_kinds[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

/*
 * Allocations that may wait count, too, and nothing is printed. Opens the switch of the
 * calling thread.
 *
 * Return: whether the kernel can do it.
 */
static inline bool inject_setup(void)
{
	if (access(DEBUGFS "failslab", F_OK) &&
	    mount("debugfs", DEBUGFS, "debugfs", 0, NULL) && errno != EBUSY)
		return false;
	for (int i = 0; i < 3; i++)
		if (set_attribute(inject_kinds[i], "verbose", "0"))
			return false;
	fail_nth_file = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fail_nth_file >= 0 &&
	       !set_attribute("failslab", "ignore-gfp-wait", "N") &&
	       !set_attribute("fail_page_alloc", "ignore-gfp-wait", "N") &&
	       !set_attribute("fail_page_alloc", "ignore-gfp-highmem", "N") &&
	       !set_attribute("fail_page_alloc", "min-order", "0");
}

static inline void inject_arm(int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(fail_nth_file, text, (size_t)length, 0) != length)
		problem("cannot arm fail-nth: %s", strerror(errno));
}

/*
 * Return: whether the n-th came.
 *
 * Reading copies to the user and writing from it: these may be the n-th. Then the call
 * had come to its end before.
 */
static inline bool inject_disarm(void)
{
	char text[16] = { 0 };
	ssize_t length = pread(fail_nth_file, text, sizeof(text) - 1, 0);
	bool fired = length > 0 && atoi(text) == 0;

	if (!fired && pwrite(fail_nth_file, "0", 1, 0) < 0 && errno != EFAULT)
		problem("cannot disarm fail-nth: %s", strerror(errno));
	return fired;
}

/* The line of TAP of case @n; returns whether it failed. */
static inline bool case_end(int n, const char *name)
{
	bool failed = problems;

	printf("%sok %d - %s\n", failed ? "not " : "", n, name);
	fflush(stdout);
	problems = 0;
	return failed;
}

#endif /* FAILNTH_H */
