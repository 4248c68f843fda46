// SPDX-License-Identifier: MIT
/*
 * failnth_load_test.c - each allocation of a load fails once: it fails with an errno and
 * leaves nothing, or goes well. Needs root, a kernel with FAULT_INJECTION, and that the
 * module is not loaded.
 *
 * Usage: failnth_load_test PATH/buddy_mem.ko [STEP]
 *
 * The allocations of the kernel's loader count, too, before and after the module's own.
 * Only every STEP-th is tried (1).
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "failnth.h"

#define PARAMS	"size=8M"
#define MISSING	1024	/* kB: half a unit. 100 to 400 are taken for other things */

static const char *const traces[] = {
	"/dev/buddy", "/sys/module/buddy_mem", "/sys/class/misc/buddy",
	"/sys/devices/virtual/misc/buddy",
};

static int module_file;

static int load(void)
{
	return syscall(SYS_finit_module, module_file, PARAMS, 0) ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "buddy_mem", O_NONBLOCK) ? -errno : 0;
}

/* kB, with the free pages on the lists of the CPUs. */
static long free_memory(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	long pages = 0, n;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " pages free %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	if (file)
		fclose(file);
	return pages * (getpagesize() >> 10);
}

static void expect_loaded(int n)
{
	int file = open("/dev/buddy", O_RDWR | O_CLOEXEC);

	if (file < 0)
		problem("n=%d: loaded, and no /dev/buddy: %s", n, strerror(errno));
	close(file);
}

static void expect_nothing(int n)
{
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++)
		if (!access(traces[i], F_OK))
			problem("n=%d: there is still %s", n, traces[i]);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct sweep {
	int n;
	int tried;
	int refused;
	int errnos[256];
	long most;	/* kB taken by one iteration */
};

/* Return: whether there was an n-th. */
static bool load_once(struct sweep *sweep)
{
	long before = free_memory(), taken;
	bool fired;
	int err;

	inject_arm(sweep->n);
	err = load();
	fired = inject_disarm();
	if (err) {
		sweep->refused++;
		sweep->errnos[-err & 255]++;
		if (!fired || (err != -ENOMEM && err != -EFAULT))
			problem("n=%d: %d (%s)%s", sweep->n, err, strerror(-err),
				fired ? "" : ", and nothing failed");
	} else {
		expect_loaded(sweep->n);
		err = unload();
		if (err)
			problem("n=%d: cannot unload: %d", sweep->n, err);
	}
	expect_nothing(sweep->n);
	taken = before - free_memory();
	if (taken > sweep->most)
		sweep->most = taken;
	if (taken > MISSING)
		problem("n=%d: %ld kB are missing", sweep->n, taken);
	return fired;
}

static void print_errnos(const struct sweep *sweep)
{
	for (int i = 0; i < 256; i++)
		if (sweep->errnos[i])
			printf("# %d times %s\n", sweep->errnos[i], strerror(i));
}

static void each_allocation(int step)
{
	struct sweep sweep = { .n = 1 };
	double began = now();

	while (!problems && load_once(&sweep)) {
		sweep.tried++;
		sweep.n += step;
	}
	printf("# load: %d of %d failed once, %d of them refused the load; %.1f s\n",
	       sweep.tried, sweep.n - step, sweep.refused, now() - began);
	print_errnos(&sweep);
	printf("# kB that were free before and not after one of them: at most %ld\n", sweep.most);
	if (sweep.tried < 20 || !sweep.refused)
		problem("that was no sweep");
}

static void load_and_unload(void)
{
	int err = load();

	if (err)
		problem("a load where nothing fails: %d", err);
	else
		expect_loaded(0);
	err = unload();
	if (err)
		problem("its unload: %d", err);
	expect_nothing(0);
}

int main(int argc, char **argv)
{
	int step = argc > 2 ? atoi(argv[2]) : 1, failed = 0;

	module_file = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	if (module_file < 0 || step < 1) {
		printf("Bail out! usage: failnth_load_test PATH/buddy_mem.ko [STEP]\n");
		return 1;
	}
	if (!inject_setup()) {
		printf("1..1\nok 1 - loads # SKIP no fault injection in this kernel\n");
		return 0;
	}
	printf("1..2\n");
	load_and_unload();
	each_allocation(step);
	failed += case_end(1, "each allocation of a load fails once: all or nothing");
	load_and_unload();
	failed += case_end(2, "then a load goes well");
	return failed ? 1 : 0;
}
