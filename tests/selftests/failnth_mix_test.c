// SPDX-License-Identifier: MIT
/*
 * failnth_mix_test.c - processes that do everything with blocks while every now and then
 * an allocation fails, at random, of every task and of the module's work item. Needs
 * root, a kernel with FAULT_INJECTION and the module.
 */
#define _GNU_SOURCE
#include "failnth_sweep.h"

#define MIXERS	4
#define MIX_SECONDS 6

struct mix {
	uint64_t calls;
	uint64_t refusals;
	uint64_t wrong;
	const char *what;	/* the last wrong call */
	int err;
};

static volatile struct mix *mixes;

static void mix_is_wrong(volatile struct mix *mix, const char *what, int err)
{
	mix->wrong++;
	mix->what = what;
	mix->err = err;
}

/* Counts a result; true where the call succeeded. */
static bool mixed(volatile struct mix *mix, const char *what, int err)
{
	mix->calls++;
	mix->refusals += err < 0;
	if (err < 0 && err != -ENOMEM && err != -EFAULT)
		mix_is_wrong(mix, what, err);
	return err >= 0;
}

static void mix_map(volatile struct mix *mix, int file, const struct buddy_alloc *a)
{
	char *p = map_block(file, a);

	if (!mixed(mix, "mmap", p == MAP_FAILED ? -errno : 0))
		return;
	if (!is_zero(p, PAGE) || !is_zero(p + a->out_length - PAGE, PAGE))
		mix_is_wrong(mix, "a block that is not zero", 0);
	fill(p, FILLED, PAGE);
	p[a->out_length - 1] = 1;
	if (a->out_length > 2 * PAGE)
		mixed(mix, "madvise", result(madvise(p + PAGE, PAGE, MADV_POPULATE_WRITE)));
	/* what is still mapped cannot be trimmed */
	while (munmap(p, a->out_length))
		;
}

static void mix_once(volatile struct mix *mix, int file, unsigned int *seed)
{
	static const unsigned long shares[] = { BUDDY_IOC_SHARE, BUDDY_IOC_DMABUF };
	uint64_t most = rand_r(seed) % 2 ? 9 * PAGE : 6 * MIB;
	uint64_t length = 1 + (uint64_t)rand_r(seed) % most;
	struct buddy_alloc a;
	uint32_t alone = rand_r(seed) % 4 ? 0 : BUDDY_ALLOC_ALONE;
	int err, how = rand_r(seed) % 4, shared;

	err = alloc_flagged(file, length, alone | (how == 1 ? BUDDY_ALLOC_SCATTER : 0), &a);
	if (!mixed(mix, how == 1 ? "SCATTER" : "ALLOC", err))
		return;
	mix_map(mix, file, &a);
	if (how == 2) {
		shared = share_block(file, shares[rand_r(seed) % 2], a.out_handle, 0);
		if (mixed(mix, "SHARE, DMABUF", shared))
			close(shared);
	}
	if (how == 3)
		mixed(mix, "TRIM", resize(file, BUDDY_IOC_TRIM, a.out_handle, 1 + length / 2));
	/* nothing but the copy of its struct can fail */
	while ((err = free_block(file, a.out_handle)) == -EFAULT)
		;
	mixed(mix, "FREE", err);
}

static _Noreturn void mix_all(int number)
{
	volatile struct mix *mix = &mixes[number];
	unsigned int seed = (unsigned int)number;
	double end = now() + MIX_SECONDS;
	int file;

	while (now() < end) {
		file = open("/dev/buddy", O_RDWR | O_CLOEXEC);
		if (!mixed(mix, "open", file < 0 ? -errno : 0))
			continue;
		for (int i = 0; i < 20; i++)
			mix_once(mix, file, &seed);
		close(file);
	}
	_exit(0);
}

/* Even where the open() or the write() of it fails at random. */
static void set_probability(const char *percent)
{
	for (int i = 0; i < 3; i++)
		while (set_attribute(inject_kinds[i], "probability", percent))
			;
}

static int run_mix(void)
{
	struct mix sum = { 0 };
	pid_t pids[MIXERS];
	int status;

	for (int i = 0; i < 3; i++)
		must(!set_attribute(inject_kinds[i], "times", "-1"));
	fflush(stdout);
	for (int i = 0; i < MIXERS; i++) {
		pids[i] = fork();
		if (!pids[i])
			mix_all(i);
	}
	set_probability("5");
	for (int i = 0; i < MIXERS; i++) {
		while (waitpid(pids[i], &status, 0) < 0)
			;
		must(!status);
	}
	set_probability("0");
	for (int i = 0; i < MIXERS; i++) {
		sum.calls += mixes[i].calls;
		sum.refusals += mixes[i].refusals;
		if (mixes[i].wrong)
			problem("%llu wrong, the last: %s (%d)",
				(unsigned long long)mixes[i].wrong, mixes[i].what,
				mixes[i].err);
	}
	printf("# %llu calls, %llu refused\n", (unsigned long long)sum.calls,
	       (unsigned long long)sum.refusals);
	must(sum.refusals && sum.refusals < sum.calls);
	for (int i = 0; i < 3; i++)
		must(!set_attribute(inject_kinds[i], "times", "1"));
	return 0;
}

static const struct op ops[] = {
	{ "a mix, one of 20 fails at random", .run = run_mix, .arms_itself = true },
};

int main(void)
{
	mixes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return sweep_all(ops, TAP_COUNT(ops), "");
}
