// SPDX-License-Identifier: MIT
/*
 * plan.c - buddyctl doctor --size: the line that loads the module with so much memory.
 *
 * A machine of several NUMA nodes gets a region on each, in proportion to their memory.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"

enum { MAX_REGIONS = 8, UNIT = 2 << 20 };	/* those of the module */

struct plan {
	struct machine machine;
	struct module module;
	uint64_t available;	/* in all, with what loaded regions would give back */
	uint64_t total;		/* of the nodes */
	int count;		/* of nodes that have memory; of one, the number does not matter */
	struct share {
		int node;	/* -1: not told */
		uint64_t total, available, bytes;
	} shares[MAX_REGIONS];
};

static uint64_t kilobytes(const struct machine *m, const char *path, const char *key)
{
	int64_t number = machine_number(m, path, key);

	return number > 0 ? (uint64_t)number << 10 : 0;
}

static void read_node(struct plan *p, int node)
{
	static const char *const takable[] = { "MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:" };
	struct share *share = &p->shares[p->count];
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	*share = (struct share){ .node = node, .total = kilobytes(&p->machine, path, "MemTotal:") };
	for (size_t i = 0; i < sizeof(takable) / sizeof(takable[0]); i++)
		share->available += kilobytes(&p->machine, path, takable[i]);
	p->total += share->total;
	p->count += share->total > 0;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void read_nodes(struct plan *p)
{
	const char *pattern = machine_path(&p->machine, "/sys/devices/system/node/node[0-9]*");
	int nodes[1024], count = 0;
	glob_t found;

	if (!glob(pattern, 0, NULL, &found))
		for (size_t i = 0; i < found.gl_pathc && count < 1024; i++)
			nodes[count++] = atoi(strrchr(found.gl_pathv[i], '/') + strlen("/node"));
	globfree(&found);
	qsort(nodes, (size_t)count, sizeof(nodes[0]), by_number);
	for (int i = 0; i < count && p->count < MAX_REGIONS; i++)
		read_node(p, nodes[i]);
	if (p->count > 1)
		return;
	p->count = 0;
	p->total = kilobytes(&p->machine, "/proc/meminfo", "MemTotal:");
	p->shares[p->count++] = (struct share){ .node = -1, .total = p->total };
}

/* What the loaded regions have comes back before the new ones are taken. */
static uint64_t loaded_bytes(const struct plan *p)
{
	char sizes[256], *save, *item;
	uint64_t bytes, sum = 0;

	machine_parameter(&p->machine, "size", sizes, sizeof(sizes));
	for (item = strtok_r(sizes, ",", &save); item; item = strtok_r(NULL, ",", &save))
		sum += ctl_parse_bytes(item, p->total, &bytes) ? bytes : 0;
	return sum;
}

/* "50%" of the machine's memory, or a length, in units. Return: whether it is one of them. */
static bool parse(const char *text, uint64_t total, uint64_t *bytes)
{
	if (!ctl_parse_bytes(text, total, bytes) || *bytes > INT64_MAX)
		return false;
	/* of a part no more than asked for, of a length no less */
	*bytes = (strchr(text, '%') ? *bytes : *bytes + UNIT - 1) / UNIT * UNIT;
	return *bytes;
}

/* By sums, so that what rounding takes from one node goes to the next. */
static void distribute(struct plan *p, uint64_t bytes)
{
	uint64_t memory = 0, given = 0;

	for (int i = 0; i < p->count; i++) {
		uint64_t until;

		memory += p->shares[i].total;
		until = (uint64_t)((double)bytes / (double)p->total * (double)memory) / UNIT * UNIT;
		if (i == p->count - 1)
			until = bytes;
		p->shares[i].bytes = until - given;
		given = until;
	}
}

/* The module takes no more without force=1. */
static uint64_t most_of(uint64_t available)
{
	return available / 100 * 90 / UNIT * UNIT;
}

static bool is_too_much(uint64_t bytes, uint64_t available)
{
	return bytes > most_of(available);
}

/* Says on standard error what cannot be had. Return: an exit status of ours. */
static int refuse(const struct plan *p, uint64_t bytes)
{
	if (is_too_much(bytes, p->available)) {
		fprintf(stderr, "buddyctl: %s is more than 90 %% of the %s that are available: the module refuses that without force=1; at most buddyctl doctor --size %" PRIu64 "M\n",
			ctl_bytes(bytes), ctl_bytes(p->available), most_of(p->available) >> 20);
		return CTL_SAID + 1;
	}
	for (int i = 0; i < p->count; i++) {
		const struct share *s = &p->shares[i];

		/* of a node it cannot be told what loaded regions would give back */
		if (p->module.loaded || p->count == 1 || !is_too_much(s->bytes, s->available))
			continue;
		fprintf(stderr, "buddyctl: node %d would have %s of it, more than 90 %% of the %s that are available there; a line of your own can give it %" PRIu64 "M\n",
			s->node, ctl_bytes(s->bytes), ctl_bytes(s->available), most_of(s->available) >> 20);
		return CTL_SAID + 1;
	}
	return 0;
}

/* " size=4G,4G node=0,1" */
static void put_parameters(const struct plan *p, char *text, size_t size)
{
	size_t length = 0;

	for (int numbers = 0; numbers < (p->count > 1 ? 2 : 1); numbers++) {
		const char *separator = numbers ? " node=" : "size=";

		for (int i = 0; i < p->count; i++, separator = ",") {
			const struct share *s = &p->shares[i];
			bool whole = !(s->bytes % (1 << 30));

			if (!s->bytes)
				continue;
			length += (size_t)(numbers ?
				snprintf(text + length, size - length, "%s%d", separator, s->node) :
				snprintf(text + length, size - length, "%s%" PRIu64 "%c", separator,
					 s->bytes >> (whole ? 30 : 20), whole ? 'G' : 'M'));
		}
	}
}

static void put_json(const struct plan *p, uint64_t bytes, const char *parameters)
{
	const char *separator = "";

	printf("{ \"bytes\": %" PRIu64 ", \"available\": %" PRIu64 ", \"memory\": %" PRIu64 ", \"regions\": [",
	       bytes, p->available, p->total);
	for (int i = 0; i < p->count; i++) {
		if (!p->shares[i].bytes)
			continue;
		printf("%s{ \"node\": %d, \"bytes\": %" PRIu64 " }", separator, p->shares[i].node,
		       p->shares[i].bytes);
		separator = ", ";
	}
	printf("], \"loaded\": %s, \"modprobe\": \"modprobe buddy_mem %s\", \"options\": \"options buddy_mem %s\" }\n",
	       p->module.loaded ? "true" : "false", parameters, parameters);
}

static void put_text(const struct plan *p, uint64_t bytes, const char *parameters)
{
	printf("# %s of %s; %s are available\n", ctl_bytes(bytes), ctl_bytes(p->total),
	       ctl_bytes(p->available));
	if (p->module.loaded)
		puts("modprobe -r buddy_mem");
	printf("modprobe buddy_mem %s\n", parameters);
	printf("# for every boot, in /etc/modprobe.d/buddy.conf:\noptions buddy_mem %s\n", parameters);
}

int ctl_plan(const struct ctl *ctl)
{
	char parameters[512];
	struct plan p = { 0 };
	uint64_t bytes;
	int err;

	machine_init(&p.machine, ctl->root ? ctl->root : "");
	machine_module(&p.machine, &p.module);
	read_nodes(&p);
	p.available = kilobytes(&p.machine, "/proc/meminfo", "MemAvailable:");
	if (p.module.loaded)
		p.available += loaded_bytes(&p);
	if (!p.total || !p.available) {
		fputs("buddyctl: /proc/meminfo does not tell how much memory there is\n", stderr);
		return CTL_SAID + 1;
	}
	if (!parse(ctl->plan, p.total, &bytes)) {
		fprintf(stderr, "buddyctl: --size wants a length such as 8G, or a part of the memory such as 50%%: %s\n",
			ctl->plan);
		return CTL_SAID + 2;
	}
	distribute(&p, bytes);
	err = refuse(&p, bytes);
	if (err)
		return err;
	put_parameters(&p, parameters, sizeof(parameters));
	if (ctl->format == CTL_JSON)
		put_json(&p, bytes, parameters);
	else
		put_text(&p, bytes, parameters);
	return 0;
}
