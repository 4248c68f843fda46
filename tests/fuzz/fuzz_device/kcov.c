// SPDX-License-Identifier: MIT
/*
 * kcov.c - which code of the module a thread ran, and what was compared there.
 *
 * Owns the buffers of /sys/kernel/debug/kcov, one a thread; only the module is
 * instrumented. An edge is a hash of two program counters, one after the other.
 */
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <linux/kcov.h>

#include "fuzz.h"

#define WORDS	(64u << 10)	/* of 8 bytes; what is more in one run is lost */

struct kcov {
	int fd;
	uint64_t *words;	/* the first is a count */
	bool comparisons;
	bool enabled;
};

struct kcov *kcovs[2];
static struct kcov buffers[2];

struct kcov *kcov_open(unsigned int id)
{
	struct kcov *k = &buffers[id];
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
		fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	}
	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, (unsigned long)WORDS))
		return NULL;
	k->words = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (k->words == MAP_FAILED)
		return NULL;
	k->fd = own_fd(fd);
	kcovs[id] = k;
	return k;
}

/* By the thread itself. Changing the mode takes two calls, else none. */
void kcov_begin(struct kcov *k, bool comparisons)
{
	if (!k)
		return;
	if (k->enabled && k->comparisons != comparisons) {
		ioctl(k->fd, KCOV_DISABLE, 0);
		k->enabled = false;
	}
	k->comparisons = comparisons;
	if (!k->enabled) {
		unsigned long mode = comparisons ? KCOV_TRACE_CMP : KCOV_TRACE_PC;

		k->enabled = !ioctl(k->fd, KCOV_ENABLE, mode);
	}
	__atomic_store_n(&k->words[0], 0, __ATOMIC_RELAXED);
}

static void add_pc(struct coverage *c, uint64_t pc)
{
	uint32_t at = (uint32_t)(pc * 0x9e3779b97f4a7c15ull >> 40) % PCS;

	while (c->pcs[at] && c->pcs[at] != pc)
		at = (at + 1) % PCS;
	if (c->pcs[at] || c->nr_pcs > PCS / 2)
		return;
	c->pcs[at] = pc;
	c->nr_pcs++;
}

static uint32_t edge_at(const struct kcov *k, uint64_t i)
{
	uint64_t before = i > 1 ? k->words[i - 1] : 0, mix = k->words[i] ^ before << 5;

	return (uint32_t)(mix * 0x9e3779b97f4a7c15ull >> 40) % EDGES;
}

static uint64_t count_of(const struct kcov *k)
{
	uint64_t n = __atomic_load_n(&k->words[0], __ATOMIC_RELAXED);

	return n < WORDS ? n : WORDS - 1;
}

void kcov_merge(struct kcov *k, struct coverage *c, struct trace *t)
{
	if (!k || k->comparisons)
		return;
	for (uint64_t i = 1, n = count_of(k); i <= n; i++) {
		uint32_t edge = edge_at(k, i);

		if (c->edges[edge])
			continue;
		c->edges[edge] = 1;
		c->nr_edges++;
		if (t->nr < NEW_EDGES)
			t->edges[t->nr++] = edge;
		add_pc(c, k->words[i]);
	}
}

bool kcov_has(const struct kcov *k, const struct trace *t)
{
	static uint32_t seen[EDGES], now_seen;

	now_seen++;
	for (uint64_t i = 1, n = count_of(k); i <= n; i++)
		seen[edge_at(k, i)] = now_seen;
	for (uint32_t i = 0; i < t->nr; i++)
		if (seen[t->edges[i]] != now_seen)
			return false;
	return true;
}

static bool is_known(const struct operands *o, uint64_t a, uint64_t b)
{
	for (uint32_t i = 0; i < o->nr; i++)
		if (o->pair[i].a == a && o->pair[i].b == b)
			return true;
	return false;
}

/* Those that differ: making them equal may take the other way. */
void kcov_operands(struct kcov *k, struct operands *o)
{
	uint64_t n;

	o->nr = 0;
	if (!k || !k->comparisons)
		return;
	n = __atomic_load_n(&k->words[0], __ATOMIC_RELAXED);
	if (n > (WORDS - 1) / 4)
		n = (WORDS - 1) / 4;
	for (uint64_t i = 0; i < n && o->nr < 128; i++) {
		uint64_t a = k->words[1 + i * 4 + 1], b = k->words[1 + i * 4 + 2];

		if (a == b || is_known(o, a, b))
			continue;
		o->pair[o->nr].a = a;
		o->pair[o->nr++].b = b;
	}
}
