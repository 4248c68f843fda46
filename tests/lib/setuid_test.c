// SPDX-License-Identifier: MIT
/*
 * setuid_test.c - BUDDY_BACKEND, BUDDY_DEVICE and BUDDY_SIZE in a program that has more
 * rights than the one who started it: there are none.
 *
 * Usage: setuid_test
 *
 * As root it makes a copy of itself set-user-ID root, and one that is not, and runs both
 * as another user, with these variables. The copy prints what the library made of them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <buddy_mem.h>

#include "tap.h"

#define NOBODY	65534

static char directory[] = "/tmp/buddy-setuid-XXXXXX";
static char seen[2][1024];	/* by copy: plain, set-user-ID */

/* What is obeyed of a variable is in the line. */
static int probe(void)
{
	struct buddy_info info = { 0 };
	struct buddy_dev *dev;

	printf("uid %d %d\n", (int)getuid(), (int)geteuid());
	if (buddy_dev_open(&dev, BUDDY_BACKEND_DEVICE, NULL, 0))
		printf("device: %s\n", buddy_error());
	else
		printf("device: opened\n");
	if (!buddy_dev_open(&dev, BUDDY_BACKEND_PROCESS, NULL, 0))
		buddy_dev_info(dev, &info);
	printf("region: %llu\n", (unsigned long long)info.out_region);
	if (buddy_dev_open(&dev, BUDDY_BACKEND_DEFAULT, NULL, 0))
		printf("default: %s\n", buddy_error());
	else
		printf("default: %s\n", buddy_dev_backend(dev));
	return 0;
}

static bool copy_to(const char *name, mode_t mode)
{
	int from = open("/proc/self/exe", O_RDONLY), to = open(name, O_CREAT | O_WRONLY, 0700);
	struct stat st;
	bool done;

	done = from >= 0 && to >= 0 && !fstat(from, &st) &&
	       sendfile(to, from, NULL, (size_t)st.st_size) == st.st_size &&
	       !fchmod(to, mode);
	close(from);
	close(to);
	return done;
}

static void run_as_user(const char *name, char *output, size_t size)
{
	size_t at = 0;
	ssize_t n;
	int pipes[2];
	pid_t pid;

	expect(!pipe(pipes));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setenv("BUDDY_DEVICE", "/dev/null", 1);
		setenv("BUDDY_BACKEND", "paper", 1);
		setenv("BUDDY_SIZE", "3M", 1);
		if (dup2(pipes[1], 1) < 0 || setgroups(0, NULL) || setgid(NOBODY) ||
		    setuid(NOBODY))
			_exit(1);
		execl(name, name, "probe", (char *)NULL);
		_exit(1);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], output + at, size - 1 - at)) > 0)
		at += (size_t)n;
	output[at] = 0;
	close(pipes[0]);
	waitpid(pid, NULL, 0);
}

static bool says(int copy, const char *text)
{
	bool found = strstr(seen[copy], text);

	if (!found)
		printf("# no \"%s\" in:\n# %s\n", text, seen[copy]);
	return found;
}

static void run_both(void)
{
	char name[64];

	if (geteuid())
		skip("needs root");
	expect(mkdtemp(directory) && !chmod(directory, 0755));
	for (int copy = 0; copy < 2; copy++) {
		snprintf(name, sizeof(name), "%s/copy%d", directory, copy);
		expect(copy_to(name, copy ? 04755 : 0755));
		run_as_user(name, seen[copy], sizeof(seen[copy]));
		unlink(name);
	}
	rmdir(directory);
	expect(says(0, "uid 65534 65534\n"));
	if (!strstr(seen[1], "uid 65534 0\n"))
		skip("/tmp is mounted nosuid");
}

static bool elevated(void)
{
	return strstr(seen[1], "uid 65534 0\n");
}

/* The first half of each shows that the variable is there to be obeyed. */
static void device(void)
{
	if (!elevated())
		skip("no set-user-ID program could be run");
	expect(says(0, "device: cannot open /dev/null"));
	expect(!strstr(seen[1], "/dev/null"));
}

static void size(void)
{
	if (!elevated())
		skip("no set-user-ID program could be run");
	expect(says(0, "region: 3145728\n"));
	expect(says(1, "region: 268435456\n"));
}

static void backend(void)
{
	if (!elevated())
		skip("no set-user-ID program could be run");
	expect(says(0, "default: cannot choose a backend: BUDDY_BACKEND=paper"));
	expect(!strstr(seen[1], "paper"));
	expect(says(1, "default: process") || says(1, "default: device"));
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "a set-user-ID program and another", run_both },
		{ "BUDDY_DEVICE", device },
		{ "BUDDY_SIZE", size },
		{ "BUDDY_BACKEND", backend },
	};

	if (argc == 2 && !strcmp(argv[1], "probe"))
		return probe();
	return tap_run(cases, TAP_COUNT(cases));
}
