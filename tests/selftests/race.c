// SPDX-License-Identifier: MIT
/*
 * race.c - is a page ever given to a new owner while an old one can reach it?
 *
 * Usage: race [SECONDS [DISK [SEED]]]     (default 30, no disk, the time)
 *
 * Holders let go of blocks, or of their ends, while something still refers to their
 * pages: a pipe, O_DIRECT in flight in both directions, a forked child, a part of a
 * mapping, a block fd, and where /dev/buddy_peer is there a device with a long-term
 * pin. They check that what they can still reach does not change. Takers allocate
 * what comes free, check that it is zero, fill it with a pattern, and check that
 * nobody writes to it. Any difference is an early free. All of them are killed at
 * random moments and replaced.
 *
 * That this can fire is shown by a module whose reference test always says yes
 * (tests/mutants/reach-weak.patch).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>

#include "harness.h"
#include "peer/peer.h"
#include "rnd.h"

#define HOLDERS	4
#define TAKERS	3
#define SPAN	(256 * 1024ul)	/* of the disk, for each holder */

struct tally {
	uint64_t rounds[16];	/* by action */
	uint64_t taken;
	uint64_t early;
};

static const char *disk_name;
static volatile struct tally *tally;

static bool is_filled(const uint64_t *p, size_t bytes, uint64_t word)
{
	for (size_t i = 0; i < bytes / 8; i++)
		if (p[i] != word)
			return false;
	return true;
}

static void fill_words(uint64_t *p, size_t bytes, uint64_t word)
{
	for (size_t i = 0; i < bytes / 8; i++)
		p[i] = word;
}

static void early(const char *who, size_t length)
{
	if (tally->early++ < 10) {
		printf("# early free: %s, a block of %zu bytes\n", who, length);
		fflush(stdout);
	}
}

/* A block of the holder's on its way through an action. */
struct hold {
	int fd;
	int disk;
	off_t at;		/* its span of the disk */
	struct buddy_alloc a;
	uint64_t *p;
	size_t length;
	uint64_t stamp;
};

static void let_go(struct hold *h)
{
	munmap(h->p, h->length);
	free_block(h->fd, h->a.out_handle);
}

/* The last pages of a block in a pipe, half of the time moved on to another. */
struct piped {
	int ends[2];
	size_t bytes;
};

static struct piped pipe_end(const struct hold *h)
{
	struct piped in = { .bytes = h->length < 16 * PAGE ? h->length : 16 * PAGE };
	struct iovec io = { (char *)h->p + h->length - in.bytes, in.bytes };
	struct piped out = in;

	if (pipe(in.ends) ||
	    vmsplice(in.ends[1], &io, 1, 0) != (ssize_t)in.bytes)
		_exit(1);
	if (rnd() % 2)
		return in;
	if (pipe(out.ends) || splice(in.ends[0], NULL, out.ends[1], NULL, in.bytes,
				     0) != (ssize_t)in.bytes)
		_exit(1);
	close(in.ends[0]);
	close(in.ends[1]);
	return out;
}

static void check_pipe(struct piped *pipe, const struct hold *h)
{
	static uint64_t copy[16 * PAGE / 8];

	if (read(pipe->ends[0], copy, pipe->bytes) != (ssize_t)pipe->bytes ||
	    !is_filled(copy, pipe->bytes, h->stamp))
		early("a page in a pipe changed", h->length);
	close(pipe->ends[0]);
	close(pipe->ends[1]);
}

static void in_a_pipe(struct hold *h)
{
	struct piped pipe = pipe_end(h);

	let_go(h);
	usleep((unsigned int)(rnd() % 30000));
	check_pipe(&pipe, h);
}

/* The end of a block goes, and perhaps comes back, while a pipe has it. */
static void trimmed(struct hold *h)
{
	struct piped pipe = pipe_end(h);
	size_t old = h->length, keep = PAGE * (1 + rnd() % (old / PAGE));

	munmap(h->p, h->length);
	h->length = keep;
	/* what lies alone is trimmed, but does not grow again */
	if (!resize(h->fd, BUDDY_IOC_TRIM, h->a.out_handle, keep)) {
		usleep((unsigned int)(rnd() % 5000));
		if (!resize(h->fd, BUDDY_IOC_GROW, h->a.out_handle, old))
			h->length = old;
	} else {
		keep = h->length = old;
	}
	h->a.out_length = h->length;
	h->p = map_block(h->fd, &h->a);
	if (h->p == MAP_FAILED)
		_exit(1);
	if (!is_filled(h->p, keep, h->stamp))
		early("what was kept of a block changed", keep);
	if (!is_filled(h->p + keep / 8, h->length - keep, 0))
		early("what a block grew by was not zero", h->length - keep);
	let_go(h);
	check_pipe(&pipe, h);
}

static void shared(struct hold *h)
{
	struct buddy_share s = { .size = sizeof(s), .handle = h->a.out_handle };
	uint64_t *p;

	if (call(h->fd, rnd() % 2 ? BUDDY_IOC_SHARE : BUDDY_IOC_DMABUF, &s))
		_exit(1);
	let_go(h);
	usleep((unsigned int)(rnd() % 3000));
	p = mmap(NULL, h->length, PROT_READ | PROT_WRITE, MAP_SHARED, s.out_fd, 0);
	close(s.out_fd);
	if (p == MAP_FAILED)
		_exit(1);
	if (!is_filled(p, h->length, h->stamp))
		early("a page of a block fd changed", h->length);
	munmap(p, h->length);
}

static size_t disk_length(const struct hold *h)
{
	return h->length < SPAN ? h->length : SPAN;
}

static void *read_disk(void *arg)
{
	struct hold *h = arg;

	/* what arrives late must not arrive at another's */
	return (void *)pread(h->disk, h->p, disk_length(h), h->at);
}

static void *write_disk(void *arg)
{
	struct hold *h = arg;

	return (void *)pwrite(h->disk, h->p, disk_length(h), h->at);
}

static ssize_t let_go_during(struct hold *h, void *(*io)(void *))
{
	pthread_t thread;
	void *done;

	if (pthread_create(&thread, NULL, io, h))
		_exit(1);
	usleep((unsigned int)(rnd() % 400));
	let_go(h);
	pthread_join(thread, &done);
	return (ssize_t)done;
}

static void during_a_read(struct hold *h)
{
	if (h->disk >= 0)
		let_go_during(h, read_disk);
	else
		let_go(h);
}

static void during_a_write(struct hold *h)
{
	static uint64_t copy[SPAN / 8] __attribute__((aligned(4096)));
	ssize_t n;

	if (h->disk < 0) {
		let_go(h);
		return;
	}
	n = let_go_during(h, write_disk);
	/* EFAULT: let go before it began */
	if (n <= 0)
		return;
	if (pread(h->disk, copy, (size_t)n, h->at) != n ||
	    !is_filled(copy, (size_t)n, h->stamp))
		early("a page changed while it was written to disk", h->length);
}

static void in_a_child(struct hold *h)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		usleep((unsigned int)(rnd() % 5000));
		_exit(is_filled(h->p, h->length, h->stamp) ? 0 : 3);
	}
	let_go(h);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		early("a page changed in a child's mapping", h->length);
}

static void in_part(struct hold *h)
{
	size_t keep = h->length / PAGE / 2 * PAGE;

	munmap((char *)h->p + keep, h->length - keep);
	free_block(h->fd, h->a.out_handle);
	usleep((unsigned int)(rnd() % 5000));
	if (keep) {
		if (!is_filled(h->p, keep, h->stamp))
			early("a page of a part of a mapping changed", h->length);
		munmap(h->p, keep);
	}
}

/*
 * A device has a part pinned, for long, and writes it after the block is freed: to
 * whose pages?
 */
static void by_a_device(struct hold *h)
{
	uint64_t pages = h->length / PAGE, first = rnd() % pages;
	struct peer_pin pin = {
		.address = (uintptr_t)h->p + first * PAGE,
		.length = PAGE * (1 + rnd() % (pages - first)),
		.flags = PEER_WRITE | PEER_LONGTERM,
	};
	struct peer_range range = { .length = pin.length, .word = h->stamp + 2 };
	int device = open("/dev/buddy_peer", O_RDWR | O_CLOEXEC);

	if (device < 0) {
		let_go(h);
		return;
	}
	if (call(device, PEER_PIN, &pin))
		_exit(1);
	let_go(h);
	usleep((unsigned int)(rnd() % 20000));
	if (call(device, PEER_FILL, &range))
		_exit(1);
	usleep((unsigned int)(rnd() % 5000));
	if (call(device, PEER_CHECK, &range))
		_exit(1);
	if (range.out_bad)
		early("a page changed that a device has pinned", h->length);
	close(device);
}

static void (*const actions[])(struct hold *) = {
	in_a_pipe, during_a_read, during_a_write, in_a_child, in_part, trimmed, shared,
	by_a_device,
};

#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

/* Half of them small, the others up to 4 MiB; any number of pages. */
static uint64_t any_length(void)
{
	return (1 + rnd() % (rnd() % 2 ? 40 : 1024)) * PAGE;
}

static bool take(int fd, struct buddy_alloc *a, uint64_t **p)
{
	*a = (struct buddy_alloc){
		.size = sizeof(*a),
		.length = any_length(),
		.flags = rnd() % 3 ? 0 : BUDDY_ALLOC_SCATTER,
	};
	if (!(rnd() % 4))
		a->flags |= BUDDY_ALLOC_ALONE;
	if (call(fd, BUDDY_IOC_ALLOC, a))
		return false;
	*p = map_block(fd, a);
	if (*p == MAP_FAILED)
		_exit(1);
	if (!is_filled(*p, a->out_length, 0))
		early("a new block was not zero", a->out_length);
	return true;
}

static void holder(int number)
{
	struct hold h = {
		.fd = device_open(),
		.disk = disk_name ? open(disk_name, O_RDWR | O_DIRECT) : -1,
		.at = (off_t)(SPAN * (size_t)number),
	};

	if (disk_name && h.disk < 0)
		_exit(1);
	for (;;) {
		size_t k = rnd() % ACTIONS;

		if (!take(h.fd, &h.a, &h.p))
			continue;
		h.length = h.a.out_length;
		h.stamp = rnd() | 1;
		fill_words(h.p, h.length, h.stamp);
		actions[k](&h);
		tally->rounds[k]++;
	}
}

static void taker(void)
{
	int fd = device_open();
	struct buddy_alloc a;
	uint64_t *p;

	for (;;) {
		uint64_t word = rnd() & ~1ull;

		if (!take(fd, &a, &p))
			continue;
		fill_words(p, a.out_length, word);
		usleep((unsigned int)(rnd() % 4000));
		if (!is_filled(p, a.out_length, word))
			early("somebody wrote into a new block", a.out_length);
		munmap(p, a.out_length);
		free_block(fd, a.out_handle);
		tally->taken++;
	}
}

static pid_t start(int number)
{
	pid_t pid;

	rnd();	/* a stream of its own for each */
	pid = fork();
	if (pid)
		return pid;
	if (number < HOLDERS)
		holder(number);
	taker();
	_exit(1);
}

static void stop(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Each process is killed amid whatever it does, and another takes its place. */
static uint64_t run(int seconds)
{
	pid_t pids[HOLDERS + TAKERS];
	double end = now() + seconds;
	uint64_t kills = 0;

	for (int i = 0; i < HOLDERS + TAKERS; i++)
		pids[i] = start(i);
	for (; now() < end; kills++) {
		uint64_t i = rnd() % (HOLDERS + TAKERS);

		usleep((unsigned int)(rnd() % 200000));
		stop(pids[i]);
		pids[i] = start((int)i);
	}
	for (int i = 0; i < HOLDERS + TAKERS; i++)
		stop(pids[i]);
	return kills;
}

int main(int argc, char **argv)
{
	static const char *const names[ACTIONS] = {
		"pipe", "read", "write", "child", "part", "trim", "share",
		"device",
	};
	int seconds = argc > 1 ? atoi(argv[1]) : 30;
	uint64_t kills;

	disk_name = argc > 2 && *argv[2] ? argv[2] : NULL;
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL) | 1;
	printf("1..1\n# %d s, seed %llu\n", seconds, (unsigned long long)seed);
	fflush(stdout);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	kills = run(seconds);
	for (size_t i = 0; i < ACTIONS; i++) {
		printf("# %s: %llu let go\n", names[i],
		       (unsigned long long)tally->rounds[i]);
		expect(tally->rounds[i] > 0);
	}
	printf("# %llu taken, %llu killed, %llu early frees\n",
	       (unsigned long long)tally->taken, (unsigned long long)kills,
	       (unsigned long long)tally->early);
	expect_eq(tally->early, 0);
	expect_empty();
	printf("%sok 1 - race: nobody got a page that another could reach\n",
	       tap_failures ? "not " : "");
	return tap_failures ? 1 : 0;
}
