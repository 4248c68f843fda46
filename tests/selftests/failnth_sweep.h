/* SPDX-License-Identifier: MIT */
/*
 * failnth_sweep.h - operations on /dev/buddy in which each allocation fails once, and
 * what must hold then: the result is what the operation may say, all is as it was
 * before, and the same call succeeds when nothing fails.
 *
 * A program has a table of struct op and ends with sweep_all(). Each of its operations
 * begins and ends with the same region.
 */
#ifndef FAILNTH_SWEEP_H
#define FAILNTH_SWEEP_H

#include <signal.h>

#include "failnth.h"
#include "harness.h"

#define PASSES	3
#define FENCE_UNITS	64	/* all units of a region of this many */
#define NTH_MAX	5000	/* an operation that allocates more often never ends */

/*
 * @prepare, @run, @check (after a success) and @undo are called for each n; @begin and
 * @end once. @run returns 0 or a negative errno, @want when nothing fails, and else one
 * of @may (positive). @failed, after a failure, looks whether contents are still there,
 * and undoes what a call that is not all or nothing has done.
 * @length, @align, @flags and @command are the callbacks' own. @held_back: also with
 * every allocation failing from the n-th on; for calls that fault on nothing.
 * @arms_itself: @run makes the @nth fail somewhere else, and says in @fired_there whether
 * it came.
 */
struct op {
	const char *name;
	void (*begin)(void);
	void (*prepare)(void);
	int (*run)(void);
	void (*failed)(int err);
	void (*check)(void);
	void (*undo)(void);
	void (*end)(void);
	int want;
	int may[4];
	bool held_back;
	bool arms_itself;
	uint64_t length;
	uint64_t align;
	uint32_t flags;
	unsigned long command;
};

static int fd;			/* an open node that all operations use */
static uint64_t region;
static const struct op *self;	/* the operation that runs */
static int nth;			/* what it is run with */
static bool fired_there;

/* @begin and @end of what wants a region in pieces. */
static struct buddy_alloc fence[FENCE_UNITS];
static int fences;

/* Every other unit of the region is taken, so that there is no range of two. */
static inline void fence_up_all(void)
{
	fences = 0;
	while (fences < FENCE_UNITS && !alloc_block(fd, 2 * MIB, &fence[fences]))
		fences++;
	for (int i = 0; i < fences; i += 2)
		must(!free_block(fd, fence[i].out_handle));
}

static inline void fence_down_all(void)
{
	for (int i = 1; i < fences; i += 2)
		must(!free_block(fd, fence[i].out_handle));
}

/* What must be as before after a failure. */
struct look {
	uint64_t free;
	uint64_t used;
	uint64_t private;
	uint64_t blocks;
	int next_fd;
};

/* Waits until nothing is on its way back. */
static inline struct look look(void)
{
	struct buddy_stats s = { .size = sizeof(s) };
	double end = now() + 10;
	int next;

	do {
		s.size = sizeof(s);
		must(!call(fd, BUDDY_IOC_STATS, &s));
		if (!s.out_returning && !s.out_quarantined)
			break;
		usleep(500);
	} while (now() < end);
	must(!s.out_returning);
	must(!s.out_quarantined);
	must(s.out_free + s.out_used + s.out_private == s.out_region);
	must(s.out_allocs - s.out_frees == s.out_blocks);
	next = dup(fd);
	close(next);
	return (struct look){
		.free = s.out_free,
		.used = s.out_used,
		.private = s.out_private,
		.blocks = s.out_blocks,
		.next_fd = next,
	};
}

static inline void same(const struct look *a, const struct look *b, int n,
			const char *when)
{
	if (a->free == b->free && a->used == b->used && a->blocks == b->blocks &&
	    a->private == b->private && a->next_fd == b->next_fd)
		return;
	problem("n=%d, %s: free %lld, used %lld, private %lld, blocks %lld, next fd %d more than before",
		n, when, (long long)(b->free - a->free), (long long)(b->used - a->used),
		(long long)(b->private - a->private),
		(long long)(b->blocks - a->blocks), b->next_fd - a->next_fd);
}

static inline bool may_fail_with(int err)
{
	for (int i = 0; i < 4 && self->may[i]; i++)
		if (err == -self->may[i])
			return true;
	return false;
}

static inline void callback(void (*function)(void))
{
	if (function)
		function();
}

/* The call has failed as it may: nothing has happened, and it works again. */
static inline void after_failure(const struct look *before, int err, int n)
{
	struct look after;

	if (self->failed)
		self->failed(err);
	after = look();
	same(before, &after, n, "after a failure");
	err = self->run();
	if (err != self->want)
		problem("n=%d: again, and nothing fails: %d, expected %d", n, err,
			self->want);
}

/* Once with the n-th failing. Return: whether there was an n-th. */
static inline bool sweep_once(int n, int *refused)
{
	struct look start = look(), before, end;
	bool fired;
	int err;

	callback(self->prepare);
	before = look();
	nth = n;
	if (!self->arms_itself)
		inject_arm(n);
	err = self->run();
	fired = self->arms_itself ? fired_there : inject_disarm();
	if (err != self->want) {
		if (!fired || !may_fail_with(err))
			problem("n=%d: %d (%s), which it may not say%s", n, err,
				strerror(-err), fired ? "" : "; nothing failed");
		++*refused;
		after_failure(&before, err, n);
	}
	callback(self->check);
	callback(self->undo);
	end = look();
	same(&start, &end, n, "in the end");
	return fired;
}

/*
 * Every allocation of slabs fails from some place on, and again, and again: a call that
 * tries once more when one has failed must come to an end. In a process of its own, which
 * can be killed. The place is given in bytes of slabs that are had before: kmemleak's
 * object for each is longer than a step, so no allocation is stepped over.
 */
#define HELD_STEP	256
#define HELD_MAX	(64 << 10)
#define HELD_TIMES	1000000
/* In the place of bytes: what is small is had, always, and what is large never. */
#define HELD_LARGE	(-HELD_STEP)

struct held {
	int space;
	int count;
};

static inline int held_times(void)
{
	FILE *file = fopen(DEBUGFS "failslab/times", "r");
	int times = 0;

	must(file && fscanf(file, "%d", &times) == 1);
	fclose(file);
	return times;
}

static inline void hold_back(int space)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", space < 0 ? 0 : space);
	must(!set_attribute("failslab", "cache-filter", space < 0 ? "Y" : "N"));
	must(!set_attribute("failslab", "space", text));
	snprintf(text, sizeof(text), "%d", HELD_TIMES);
	must(!set_attribute("failslab", "times", text));
}

/* Return: whether something failed. */
static inline bool held_back_once(int make_it_fail, int space)
{
	struct look start = look(), before, end;
	int err;

	callback(self->prepare);
	before = look();
	hold_back(space);
	must(pwrite(make_it_fail, "1", 1, 0) == 1);
	err = self->run();
	must(pwrite(make_it_fail, "0", 1, 0) == 1);
	if (err != self->want) {
		if (!may_fail_with(err))
			problem("%d bytes and no more: %d", space, err);
		after_failure(&before, err, space);
	}
	callback(self->check);
	callback(self->undo);
	end = look();
	same(&start, &end, space, "in the end, held back");
	return held_times() != HELD_TIMES;
}

static inline void held_back_child(struct held *held)
{
	int make_it_fail = open("/proc/thread-self/make-it-fail", O_WRONLY);

	problems = 0;
	must(make_it_fail >= 0);
	for (held->space = HELD_LARGE; !problems && held->space < HELD_MAX;
	     held->space += HELD_STEP) {
		if (held_back_once(make_it_fail, held->space))
			held->count++;
		else if (held->space >= 0)
			break;
	}
	fflush(stdout);
	_exit(problems || held->space >= HELD_MAX);
}

/* Waits for @pid as long as it gets on. */
static inline void held_back_wait(pid_t pid, const volatile struct held *held)
{
	double end = now() + 10;
	int status, last = held->space;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (held->space != last)
			end = now() + 10;
		last = held->space;
		if (now() > end) {
			problem("%d bytes and no more: it does not come to an end", last);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return;
		}
		usleep(1000);
	}
	problems += status != 0;
}

/* What is large: the tree of a unit that is cut up. */
static inline void filter_caches(const char *filter)
{
	static const char *const caches[] = { "1k", "2k", "4k", "8k" };
	char path[64];

	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/kmalloc-cg-%s/failslab",
			 caches[i]);
		must(!write_text(path, filter));
	}
}

/* Return: how many times something failed. */
static inline int sweep_held_back(void)
{
	struct held *held = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int count;
	pid_t pid;

	filter_caches("1");
	must(!set_attribute("failslab", "task-filter", "Y"));
	must(!set_attribute("failslab", "probability", "100"));
	fflush(stdout);
	pid = fork();
	if (!pid)
		held_back_child(held);
	held_back_wait(pid, held);
	count = held->count;
	munmap(held, PAGE);
	must(!set_attribute("failslab", "probability", "0"));
	must(!set_attribute("failslab", "times", "1"));
	must(!set_attribute("failslab", "task-filter", "N"));
	must(!set_attribute("failslab", "cache-filter", "N"));
	filter_caches("0");
	return count;
}

static inline void sweep(const struct op *op)
{
	double began = now();
	int n = 1, tried = 0, refused = 0, held = 0;

	self = op;
	callback(op->begin);
	/*
	 * The number of allocations varies by one or two (a cache that takes new pages), so
	 * that a pass may step over one: several, but of what is slow.
	 */
	for (int pass = 0; pass < PASSES && now() - began < 2; pass++) {
		for (n = 1; n < NTH_MAX && !problems && sweep_once(n, &refused); n++)
			tried++;
		must(n < NTH_MAX && (n > 1 || !op->may[0]));
	}
	if (op->held_back && !problems)
		held = sweep_held_back();
	callback(op->end);
	printf("# %s: %d failed once, %d of them told%s", op->name, tried, refused,
	       held ? ", " : "");
	if (held)
		printf("%d times all from there on", held);
	printf("; %.1f s\n", now() - began);
}

static inline void open_again(void)
{
	close(fd);
	fd = device_open();
}

/* Those whose names have @part in them. */
static inline int sweep_all(const struct op *ops, int count, const char *part)
{
	int failed = 0, wanted = 0, n = 0;

	if (!inject_setup()) {
		printf("1..1\nok 1 - sweep # SKIP no fault injection in this kernel\n");
		return 0;
	}
	fd = device_open();
	region = look().free;
	for (int i = 0; i < count; i++)
		wanted += !!strstr(ops[i].name, part);
	printf("1..%d\n", wanted);
	for (int i = 0; i < count; i++) {
		if (!strstr(ops[i].name, part))
			continue;
		sweep(&ops[i]);
		if (problems)	/* what it has left goes with its file */
			open_again();
		must(look().free == region);
		failed += case_end(++n, ops[i].name);
	}
	close(fd);
	return failed ? 1 : 0;
}

#endif /* FAILNTH_SWEEP_H */
