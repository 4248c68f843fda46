// SPDX-License-Identifier: MIT
/*
 * oom_test.c - a process with blocks in a cgroup that runs out of memory: what
 * counts there, who is killed, what comes back. Needs root, the module, and cgroup
 * v2 with the memory controller. The kernel's report of an OOM kill has a call
 * trace, so the VM is run with --allow 'Call Trace:'.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include "ktest.h"

#define ROOT	"/sys/fs/cgroup"
#define GROUP	ROOT "/buddy-test"

/* 0 or a negative errno. */
static int write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY), err = 0;

	if (file < 0 || write(file, text, strlen(text)) < 0)
		err = -errno;
	if (file >= 0)
		close(file);
	return err;
}

/* A figure of the group's memory.events. */
static long event(const char *name)
{
	FILE *file = fopen(GROUP "/memory.events", "r");
	char line[128];
	long value = -1;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ')
			value = atol(line + strlen(name));
	if (file)
		fclose(file);
	return value;
}

/* An empty group that may use @max bytes; false where there are no such groups. */
static bool make_group(const char *max)
{
	write_file(ROOT "/cgroup.subtree_control", "+memory");
	return !mkdir(GROUP, 0700) && !write_file(GROUP "/memory.max", max);
}

static void remove_group(void)
{
	/* the last process of it may still be on its way out */
	for (int i = 0; rmdir(GROUP) && i < 300; i++)
		usleep(10000);
	expect(access(GROUP, F_OK));
}

/* In a child: joins the group with a file of its own. */
static void join_group(void)
{
	if (write_file(GROUP "/cgroup.procs", "0"))
		_exit(10);
	fd = device_open();
}

/* A process that others' lack of memory must not hurt. */
static pid_t start_bystander(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void expect_alive(pid_t bystander)
{
	int status;

	expect_eq(waitpid(bystander, &status, WNOHANG), 0);
	kill(bystander, SIGKILL);
	waitpid(bystander, &status, 0);
	expect(WIFSIGNALED(status));
}

static void eat_for_ever(void)
{
	for (;;)
		fill(mmap(NULL, MIB, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, MIB);
}

/* Blocks of more than the limit, as handle, mapping, both, and offset 0. */
static void take_much(void)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, region / 2, &a);

	if (!intact(p, region / 2) || alloc_block(fd, 2 * MIB, &a))
		_exit(11);
	take_filled(fd, 3 * PAGE, &a);
	free_block(fd, a.out_handle);
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill(p, 1, 4 * MIB);
	if (get_stats(fd).out_blocks != 4 || has_failed())
		_exit(12);
}

/*
 * Runs @body, which does not come back, in a child beside a group with a limit. It is
 * to end so, with so many kills in the group; nobody else is harmed, nothing is lost.
 */
static void beside_group(const char *limit, void (*body)(void), int ended, int kills)
{
	pid_t bystander = start_bystander(), pid;
	int status;

	if (!make_group(limit)) {
		expect_alive(bystander);
		skip("no cgroup v2 with the memory controller");
	}
	pid = fork();
	if (!pid)
		body();
	waitpid(pid, &status, 0);
	expect_eq(status, ended);
	expect_eq(event("oom_kill"), kills);
	expect(wait_free(fd, region, 20));
	expect_alive(bystander);
	remove_group();
}

static void be_killed(void)
{
	join_group();
	take_much();
	/* so far nothing was short */
	if (event("max") || event("oom"))
		_exit(13);
	eat_for_ever();
}

TEST_F(device, oom_kill_gives_blocks_back)
{
	beside_group("16M", be_killed, SIGKILL, 1);
}

/* A page fault without memory would not fail but try again for ever. */
static void fault_all(void)
{
	char stack[16 * PAGE];

	memset(stack, 1, sizeof(stack));
	expect(stack[PAGE] && !mlockall(MCL_CURRENT | MCL_FUTURE));
}

static void stay_on_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	expect(!sched_setaffinity(0, sizeof(one), &one));
}

/* Allocates pages until that fails, or kills; when some are freed there is one again. */
static int exhaust_handles(void)
{
	uint64_t fails = get_stats(fd).out_fails, count = 0;
	struct buddy_alloc a;
	uint64_t last = 0;
	int err;

	fault_all();
	/* what is freed stays charged on its processor for a while */
	stay_on_one_cpu();
	join_group();
	for (;;) {
		err = alloc_block(fd, PAGE, &a);
		if (err)
			break;
		last = a.out_handle;
		count++;
	}
	/* the region has room, and it is all still consistent */
	if (err != -ENOMEM)
		return 20;
	if (count < 100 || count >= region / PAGE ||
	    get_stats(fd).out_blocks != count || get_stats(fd).out_fails != fails)
		return 21;
	/* a few: the kernel charges in lumps */
	for (uint32_t i = 0; i < 8; i++)
		if (free_block(fd, last - i))
			return 22;
	if (alloc_block(fd, PAGE, &a))
		return 24;
	return has_failed() ? 23 : 0;
}

static void be_refused(void)
{
	if (write_file("/proc/self/oom_score_adj", "-1000"))
		_exit(1);
	_exit(exhaust_handles());
}

/* The handles are the group's memory; here nobody in it may be killed for them. */
TEST_F(device, no_memory_for_handles_enomem)
{
	beside_group("1M", be_refused, 0, 0);
}

static void be_killed_for_handles(void)
{
	_exit(exhaust_handles());
}

/* Where somebody in it may: as for any kernel memory, one of the group. */
TEST_F(device, no_memory_for_handles_a_kill_in_the_group)
{
	beside_group("1M", be_killed_for_handles, SIGKILL, 1);
}

TEST_HARNESS_MAIN
