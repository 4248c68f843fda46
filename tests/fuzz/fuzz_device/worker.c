// SPDX-License-Identifier: MIT
/*
 * worker.c - the process that fuzzes.
 *
 * Runs programs that were read, then makes and alters others. What runs code of the
 * module in an order that was not seen before is shortened to what is needed for that,
 * and kept; and values in it that were compared with something become that something
 * (hints). After each program it reads the kernel's log, so that the one that made it
 * speak is known; now and then, when nothing is open, the region must be empty.
 *
 * The ideas are those of syzkaller: programs of typed calls, triage, hints.
 */
#include <sys/ioctl.h>
#include <time.h>

#include "fuzz.h"

#define CHECK_EVERY	256	/* programs */
#define HINTS		64	/* programs made of one by its comparisons */

/* Corpus entries of which the comparisons were not looked at yet. */
static uint32_t looked_at;
static double end_at;

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool is_empty(const struct buddy_stats *s)
{
	return s->out_free == s->out_region && s->out_allocs == s->out_frees &&
	       !s->out_blocks && !s->out_private;
}

/* With nothing open all memory comes back, if not at once. */
static void check_region(void)
{
	struct buddy_stats s = { .size = sizeof(s) };
	int fd = open("/dev/buddy", O_RDWR | O_CLOEXEC);
	double until = now() + 30;

	do {
		if (ioctl(fd, BUDDY_IOC_STATS, &s))
			break;
		if (is_empty(&s)) {
			state->emptied = true;
			close(fd);
			return;
		}
		usleep(1000);
	} while (now() < until);
	close(fd);
	state->emptied = false;
	complain("nothing is open, and the region has %llu of %llu free; %llu used, "
		 "%llu private, %llu returning, %llu quarantined; %llu allocs, %llu frees",
		 (unsigned long long)s.out_free, (unsigned long long)s.out_region,
		 (unsigned long long)s.out_used, (unsigned long long)s.out_private,
		 (unsigned long long)s.out_returning, (unsigned long long)s.out_quarantined,
		 (unsigned long long)s.out_allocs, (unsigned long long)s.out_frees);
}

static void end(void)
{
	check_region();
	log_look();
	exit(atomic_load(&state->complaints) ? 1 : 0);
}

/* One program, and what it says of the module. */
static void run_one(const struct program *p, bool comparisons)
{
	static unsigned long count;

	run_program(p, comparisons);
	log_look();
	if (++count % CHECK_EVERY == 0)
		check_region();
	if (atomic_load(&state->complaints))
		exit(1);
}

/* Leaves out each call without which the new edges are still there. */
static void shorten(struct program *p, const struct trace *t)
{
	for (unsigned int at = p->nr; at-- > 0 && p->nr > 1;) {
		struct program shorter = *p;

		program_remove(&shorter, at);
		run_one(&shorter, false);
		if (kcov_has(kcovs[0], t))
			*p = shorter;
	}
}

static void keep(const struct program *p, double cost)
{
	uint32_t at = state->nr_corpus;

	if (at == CORPUS)
		at = (uint32_t)below(CORPUS);
	else
		state->nr_corpus++;
	state->corpus[at] = *p;
	state->cost[at] = (float)cost;
}

/* Half of the time one of the last that were kept; of two the one that takes less. */
static uint32_t pick(void)
{
	uint32_t n = state->nr_corpus, last = n > 32 && one_in(2) ? 32 : n;
	uint32_t a = n - 1 - (uint32_t)below(last), b = n - 1 - (uint32_t)below(last);

	return state->cost[a] < state->cost[b] ? a : b;
}

/* Runs it; keeps it if it found something. */
static bool try_program(struct program *p, bool shortened)
{
	static struct trace t;
	double began = now(), cost;

	t.nr = 0;
	run_one(p, false);
	cost = now() - began;
	kcov_merge(kcovs[0], &state->coverage, &t);
	if (p->other)
		kcov_merge(kcovs[1], &state->coverage, &t);
	if (!t.nr && state->has_kcov)
		return false;
	if (!p->other && !shortened && state->has_kcov)
		shorten(p, &t);
	keep(p, cost);
	return true;
}

static bool is_over(void)
{
	if (options.calls)
		return atomic_load(&state->calls) >= options.calls;
	return now() >= end_at;
}

/* The value, if it was compared with @a, as one that equals @b. */
static bool replaced(const struct value *v, uint64_t a, uint64_t b, uint64_t *n)
{
	if (v->from != NUMBER || (a < 2 && !one_in(8)))
		return false;
	if (v->n == a || (uint32_t)v->n == a)
		*n = b;
	else if (v->n / PAGE == a && b < 1ull << 52)
		*n = b * PAGE;
	else
		return false;
	if (one_in(4))
		*n += one_in(2) ? 1 : UINT64_MAX;
	return true;
}

/* What was compared in a program, put into it. */
static void try_hints(const struct program *p)
{
	static struct operands o;
	unsigned int tried = 0;

	run_one(p, true);
	kcov_operands(kcovs[0], &o);
	for (uint32_t i = 0; i < o.nr * 2 && tried < HINTS && !is_over(); i++) {
		uint64_t a = i % 2 ? o.pair[i / 2].b : o.pair[i / 2].a;
		uint64_t b = i % 2 ? o.pair[i / 2].a : o.pair[i / 2].b;

		for (unsigned int at = 0; at < p->nr * MAX_ARGS && tried < HINTS; at++) {
			const struct call *c = &p->calls[at / MAX_ARGS];
			struct program q;
			uint64_t n;

			if (!replaced(&c->args[at % MAX_ARGS], a, b, &n))
				continue;
			q = *p;
			q.calls[at / MAX_ARGS].args[at % MAX_ARGS].n = n;
			tried++;
			state->by_hints += try_program(&q, true);
		}
	}
}

static void try_another(void)
{
	uint32_t n = state->nr_corpus;
	struct program p;

	if (!n || one_in(20)) {
		program_make(&p);
	} else {
		p = state->corpus[pick()];
		program_alter(&p, &state->corpus[below(n)]);
	}
	try_program(&p, false);
}

static void start(void)
{
	struct buddy_info info = { .size = sizeof(info) };
	int fd = open("/dev/buddy", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BUDDY_IOC_INFO, &info)) {
		complain("/dev/buddy: %s", strerror(errno));
		exit(1);
	}
	close(fd);
	state->region = info.out_region;
	log_open();
	run_start(options.failing);
	state->has_kcov = kcovs[0] && kcovs[1];
	random_start(options.seed);
}

void worker(const struct program *loaded, unsigned int count, double until)
{
	end_at = until;
	start();
	for (unsigned int i = 0; i < count && (options.replay || !is_over()); i++) {
		struct program p = loaded[i];

		if (options.verbose)
			program_print(stderr, &p);
		if (options.replay)
			run_one(&p, false);
		else
			try_program(&p, true);
		/* An instrumented module leaves a trace, whatever the program is. */
		if (i == 0 && !options.replay && !state->coverage.nr_edges)
			state->has_kcov = false;
	}
	while (!options.replay && !is_over()) {
		/* Up to 64 programs, so about half of all. */
		if (state->has_kcov && looked_at < state->nr_corpus && one_in(HINTS)) {
			struct program p = state->corpus[looked_at++];

			try_hints(&p);
		} else {
			try_another();
		}
	}
	end();
	exit(0);
}
