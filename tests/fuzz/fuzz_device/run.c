// SPDX-License-Identifier: MIT
/*
 * run.c - runs a program: its slots, the memory that calls get, a second thread, and
 * the end of all that it leaves behind.
 *
 * Addresses that a program may change are those of its windows, one for each mapping
 * slot, and those where the kernel put a mapping of it; is_ours() knows them. So no
 * call can hit the fuzzer itself. Its descriptors are 3 to 499, the fuzzer's from 500.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

#include "fuzz.h"

#define WINDOWS		0x200000000000ul
#define WINDOW_SIZE	(256 * MIB)
#define AREAS		0x300000000000ul	/* of each runner, far apart */
#define AREAS_APART	(64 * MIB)
#define RW_SIZE		(4 * PAGE)
#define RO_AT		(4 * MIB)
#define HOLE_AT		(32 * MIB)
#define KERNEL_AT	0xffff888000000000ul	/* the direct mapping */
#define PLACED		64

struct slots slots;
static struct runner runners[2];
static sem_t other_go, other_done;
static bool comparing;

/* Where the kernel has put mappings of this program. */
static struct slot_map placed[PLACED];
static atomic_uint nr_placed;

static __thread sigjmp_buf escape;
static __thread volatile bool guarded;

long result(long returned)
{
	return returned == -1 ? -errno : returned;
}

/* --- user memory ------------------------------------------------------------- */

uint64_t window(unsigned int slot)
{
	return WINDOWS + slot * WINDOW_SIZE;
}

static bool lies_in(uint64_t address, uint64_t length, uint64_t start, uint64_t size)
{
	return address >= start && address - start <= size &&
	       length <= size - (address - start);
}

bool is_ours(uint64_t address, uint64_t length)
{
	unsigned int n = atomic_load(&nr_placed);

	if (lies_in(address, length, WINDOWS, SLOTS * WINDOW_SIZE))
		return true;
	for (unsigned int i = 0; i < n && i < PLACED; i++)
		if (lies_in(address, length, placed[i].address, placed[i].length))
			return true;
	return false;
}

/* Beyond the last place nobody may touch it; it goes with the process. */
void remember_mapping(uint64_t address, uint64_t length)
{
	unsigned int n;

	if (lies_in(address, length, WINDOWS, SLOTS * WINDOW_SIZE))
		return;
	n = atomic_fetch_add(&nr_placed, 1);
	if (n < PLACED)
		placed[n] = (struct slot_map){ address, (length + PAGE - 1) & ~(PAGE - 1) };
	else
		munmap((void *)address, length);
}

void *pointer(const struct runner *r, uint64_t address, uint64_t length)
{
	uint64_t areas = (uint64_t)r->areas;

	if (is_ours(address, length) || address < 65536 || address >= 1ull << 63 ||
	    lies_in(address, 0, areas, HOLE_AT + MIB))
		return (void *)address;
	return r->areas + HOLE_AT;
}

void *own_memory(const struct runner *r, uint64_t address, uint64_t length)
{
	uint64_t areas = (uint64_t)r->areas;

	if (lies_in(address, length, areas, RW_SIZE))
		return (void *)address;
	if (lies_in(address, length, areas + RO_AT, RW_SIZE))
		return (void *)(address - RO_AT);
	return NULL;
}

/* Two views of the same memory, one to be read only; replaces those of a parent. */
void areas_create(struct runner *r)
{
	int fd = memfd_create("areas", MFD_CLOEXEC);
	char *at = (char *)(AREAS + r->id * AREAS_APART), *ro = at + RO_AT;
	int flags = MAP_SHARED | MAP_FIXED;

	if (fd < 0 || ftruncate(fd, RW_SIZE) ||
	    mmap(at, RW_SIZE, PROT_READ | PROT_WRITE, flags, fd, 0) != at ||
	    mmap(ro, RW_SIZE, PROT_READ, flags, fd, 0) != ro)
		_exit(70);
	close(fd);
	r->areas = at;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (guarded)
		siglongjmp(escape, 1);
	/* Our own fault: end by it. */
	state->died_at = (uintptr_t)info->si_addr;
	signal(number, SIG_DFL);
}

/* A stack that had to grow while an allocation is to fail would be a SIGSEGV of ours. */
static __attribute__((noinline)) void grow_stack(void)
{
	volatile char room[1 << 20];

	for (size_t i = 0; i < sizeof(room); i += PAGE)
		room[i] = 0;
}

/* In whose call of this thread a failure is due. */
static _Thread_local struct runner *armed;

static void fail_set(struct runner *r, unsigned int n)
{
	char text[8];

	snprintf(text, sizeof(text), "%u", n);
	/* What is left of the last one may hit this very call: once. */
	for (int tries = 0; r->fail_nth >= 0 && tries < 3; tries++)
		if (pwrite(r->fail_nth, text, strlen(text), 0) > 0)
			return;
	r->fail_nth = -1;
}

static void fail_begin(struct runner *r, unsigned int n)
{
	armed = r;
	fail_set(r, n);
}

/* What is left of it tells whether it took place. */
static void fail_end(struct runner *r)
{
	char text[8] = "";

	if (r->fail_nth >= 0 && pread(r->fail_nth, text, 7, 0) > 0 && text[0] == '0')
		atomic_fetch_add(&state->injected, 1);
	fail_set(r, 0);
	armed = NULL;
}

/*
 * A touch of ours may end in a signal, and the kernel writes its frame with copies that
 * would fail as well: then SIGSEGV ends the process. So no failure is due meanwhile.
 * Return: for fail_resume().
 */
static unsigned int fail_hold(void)
{
	char text[8] = "";

	if (!armed || armed->child || pread(armed->fail_nth, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	fail_set(armed, 0);
	return (unsigned int)strtoul(text, NULL, 10);
}

static void fail_resume(unsigned int n)
{
	if (n)
		fail_set(armed, n);
}

bool copy_guarded(void *to, const void *from, size_t length)
{
	volatile unsigned int held = fail_hold();

	if (sigsetjmp(escape, 0)) {
		guarded = false;
		fail_resume(held);
		atomic_fetch_add(&state->faults, 1);
		return false;
	}
	guarded = true;
	memcpy(to, from, length);
	guarded = false;
	fail_resume(held);
	return true;
}

void touch_pages(char *p, uint64_t stride, unsigned int count, bool write)
{
	volatile unsigned int i = 0, held = fail_hold();

	if (sigsetjmp(escape, 0)) {
		guarded = false;
		fail_resume(held);
		atomic_fetch_add(&state->faults, 1);
		return;
	}
	guarded = true;
	for (; i < count; i++) {
		volatile char *c = p + i * stride;

		if (write)
			*c = (char)i;
		else
			(void)*c;
	}
	guarded = false;
	fail_resume(held);
}

/* --- values ------------------------------------------------------------------ */

static uint64_t resolve(const struct runner *r, const struct value *v)
{
	uint64_t areas = (uint64_t)r->areas;
	const struct slot_block *b = &slots.blocks[v->slot % SLOTS];
	const struct slot_map *m = &slots.maps[v->slot % SLOTS];

	switch (v->from) {
	case FD: return (uint64_t)slots.fds[v->slot % SLOTS] + v->n;
	case HANDLE: return b->handle + v->n;
	case OFFSET: return b->offset + v->n;
	case LENGTH: return b->length + v->n;
	case MAP: return (m->address ? m->address : window(v->slot % SLOTS)) + v->n;
	case MAP_LENGTH: return m->length + v->n;
	case WINDOW: return window(v->slot % SLOTS) + v->n;
	case RW: return areas + v->n;
	case RO: return areas + RO_AT + v->n;
	case EDGE: return areas + RW_SIZE + v->n;
	case HOLE: return areas + HOLE_AT + v->n;
	case KERNEL: return KERNEL_AT + v->n;
	default: return v->n;
	}
}

/* Not the fuzzer's own. */
static uint64_t safe_fd(uint64_t fd)
{
	int n = (int)fd;

	return (n >= 3 && n < FIRST_OWN_FD) || n < 0 || n > 100000 ? (uint64_t)n : UINT64_MAX;
}


static void run_call(struct runner *r, const struct call *c)
{
	const struct form *f = &forms[c->form % nr_forms];
	uint64_t v[MAX_ARGS];
	long ret;

	for (unsigned int a = 0; f->args[a].kind; a++) {
		enum kind kind = f->args[a].kind;

		v[a] = resolve(r, &c->args[a]);
		if (kind == OLD_FD)
			v[a] = safe_fd(v[a]);
		else if (kind == NEW_FD || kind == NEW_BLOCK || kind == NEW_MAP)
			v[a] = c->args[a].slot % SLOTS;
	}
	if (c->fail && options.failing && !r->child)
		fail_begin(r, c->fail);
	ret = f->run(r, v, c);
	if (c->fail && options.failing && !r->child)
		fail_end(r);
	if (ret == SKIPPED)
		return;
	atomic_fetch_add(&state->calls, 1);
	atomic_fetch_add(&state->form_calls[c->form % nr_forms], 1);
	if (ret >= 0)
		atomic_fetch_add(&state->form_ok[c->form % nr_forms], 1);
}

/* From the call after the present one, by a child. */
void run_rest(struct runner *r)
{
	for (r->at++; r->at < r->program->nr; r->at++)
		run_call(r, &r->program->calls[r->at]);
}

static void run_from(struct runner *r, const struct program *p, unsigned int at)
{
	for (unsigned int i = 0; i < STAGED; i++)
		r->staged[i] = (struct buddy_batch_entry){
			.op = BUDDY_BATCH_ALLOC, .length = PAGE << i
		};
	r->program = p;
	kcov_begin(r->kcov, comparing);
	for (r->at = at; r->at < p->nr; r->at++)
		run_call(r, &p->calls[r->at]);
}

/*
 * The first thread on one processor, all others on the next: a thread that moves about
 * makes each munmap() interrupt where it was, which under TCG costs milliseconds.
 */
void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* --- threads ----------------------------------------------------------------- */

static void runner_start(struct runner *r, unsigned int id, bool failing)
{
	int fd = failing ? open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC) : -1;

	run_on(id);
	r->id = id;
	r->fail_nth = own_fd(fd);
	r->kcov = kcov_open(id);
	areas_create(r);
}

static void *other_thread(void *failing)
{
	struct runner *r = &runners[1];

	runner_start(r, 1, failing != NULL);
	sem_post(&other_done);
	for (;;) {
		while (sem_wait(&other_go))
			;
		run_from(r, r->program, r->program->other - 1);
		sem_post(&other_done);
	}
	return NULL;
}

static void other_wait(void)
{
	while (sem_wait(&other_done))
		;
}

void run_start(bool failing)
{
	struct sigaction action = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_NODEFER | SA_SIGINFO,
	};
	pthread_t thread;

	grow_stack();
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGIO, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGURG, SIG_IGN);
	for (unsigned int i = 0; i < SLOTS; i++)
		slots.fds[i] = -1;
	sem_init(&other_go, 0, 0);
	sem_init(&other_done, 0, 0);
	files_start();
	runner_start(&runners[0], 0, failing);
	if (pthread_create(&thread, NULL, other_thread, failing ? &runners : NULL))
		_exit(71);
	other_wait();
}

/* --- one program ------------------------------------------------------------- */

static void ring_begin(const struct program *p)
{
	uint64_t at;

	if (!ring)
		return;
	at = ring->begun % RING;
	ring->entry[at].number = 0;
	memcpy(&ring->entry[at].program, p,
	       offsetof(struct program, calls) + p->nr * sizeof(p->calls[0]));
	ring->entry[at].number = ++ring->begun;
}

static void clean_up(void)
{
	struct rlimit limit = { 512, 4096 };
	unsigned int n = atomic_load(&nr_placed);

	setrlimit(RLIMIT_NOFILE, &limit);
	reap_children();
	files_end();
	munmap((void *)WINDOWS, SLOTS * WINDOW_SIZE);
	for (unsigned int i = 0; i < n && i < PLACED; i++)
		munmap((void *)placed[i].address, placed[i].length);
	atomic_store(&nr_placed, 0);
	memset(&slots, 0, sizeof(slots));
	for (unsigned int i = 0; i < SLOTS; i++)
		slots.fds[i] = -1;
}

void run_program(const struct program *p, bool comparisons)
{
	comparing = comparisons;
	ring_begin(p);
	if (p->other) {
		runners[1].program = p;
		sem_post(&other_go);
	}
	run_from(&runners[0], p, 0);
	if (p->other)
		other_wait();
	clean_up();
	if (ring)
		ring->ended = ring->begun;
	atomic_fetch_add(&state->programs, 1);
}
