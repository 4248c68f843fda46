// SPDX-License-Identifier: MIT
/*
 * process.c - the backend without a module: a memfd, and the placement of module/core
 * over its pages, with one owner. Answers the same commands with the same errnos; what
 * it cannot do (SHARE, DMABUF: its blocks are ranges of one file) is EOPNOTSUPP.
 *
 * Owns opening, closing and questions; process_block.c has what changes the placement.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "process.h"

static int do_info(struct process_dev *p, struct buddy_info *info)
{
	if (info->flags || info->reserved)
		return -EINVAL;
	*info = (struct buddy_info){
		.size = info->size,
		.out_abi_version = BUDDY_ABI_VERSION,
		.out_granule = 1u << p->shift,
		.out_region = buddy_process_bytes(p, p->granules),
		.out_max_align = BUDDY_PROCESS_ALIGN,
		.out_base_align = 1u << p->shift,
		.out_node = -1,
	};
	return 0;
}

/* Naturally aligned free ranges: nodes of the tree over units, and of split units. */
static void count_free(const struct process_dev *p, struct buddy_stats *s)
{
	const uint32_t unit_order = BUDDY_BITS_ORDERS - 1;
	struct rb_node *node = rb_first(&p->owner.units);

	for (uint32_t order = unit_order; order < s->out_orders; order++)
		s->out_free_blocks[order] = buddy_core_count(&p->place.core, order - unit_order);
	for (; node; node = rb_next(node))
		for (uint32_t order = 0; order < unit_order; order++)
			s->out_free_blocks[order] += buddy_bits_count(
				&rb_entry(node, struct buddy_place_unit, node)->bits, order);
}

static int do_stats(struct process_dev *p, struct buddy_stats *s)
{
	uint32_t granules = buddy_process_free_granules(p);
	uint32_t largest = buddy_process_longest(p);

	if (s->flags)
		return -EINVAL;
	*s = (struct buddy_stats){
		.size = s->size,
		.out_region = buddy_process_bytes(p, p->granules),
		.out_free = buddy_process_bytes(p, granules),
		.out_used = buddy_process_bytes(p, p->granules - granules),
		.out_largest = buddy_process_bytes(p, largest),
		.out_low_water = buddy_process_bytes(p, p->low_water),
		.out_blocks = p->allocs - p->frees,
		.out_allocs = p->allocs,
		.out_frees = p->frees,
		.out_fails = p->fails,
		.out_fragmentation = buddy_place_fragmentation(granules, largest),
		.out_orders = buddy_log2(p->granules) + 1,
	};
	count_free(p, s);
	return 0;
}

static int do_extents(struct process_dev *p, struct buddy_extents *x)
{
	struct buddy_extent_entry *entries = (void *)(uintptr_t)x->entries;
	uint64_t at = x->start >> p->shift;
	struct buddy_core_span e;

	if (x->flags || !x->count)
		return -EINVAL;
	x->out_count = 0;
	for (; at < p->granules && x->out_count < x->count; at = (uint64_t)e.offset + e.size) {
		buddy_place_find(&p->place, (uint32_t)at, &e);
		entries[x->out_count++] = (struct buddy_extent_entry){
			.offset = buddy_process_bytes(p, e.offset),
			.length = buddy_process_bytes(p, e.size),
			.state = e.used ? BUDDY_EXTENT_USED : BUDDY_EXTENT_FREE,
			.pid = e.used ? p->pid : 0,
		};
	}
	x->out_next = buddy_process_bytes(p, at < p->granules ? at : p->granules);
	return 0;
}

static int process_call(struct buddy_dev *dev, unsigned long command, void *arg)
{
	struct process_dev *p = (struct process_dev *)dev;
	int err = -ENOTTY, cancel;

	if (getpid() != p->pid)
		return -EPERM;
	cancel = buddy_cancel_off();
	pthread_mutex_lock(&p->lock);
	switch (command) {
	case BUDDY_IOC_INFO:
		err = do_info(p, arg);
		break;
	case BUDDY_IOC_ALLOC:
		err = buddy_process_alloc(p, arg);
		break;
	case BUDDY_IOC_FREE:
		err = buddy_process_free(p, arg);
		break;
	case BUDDY_IOC_BATCH:
		err = buddy_process_batch(p, arg);
		break;
	case BUDDY_IOC_TRIM:
		err = buddy_process_trim(p, arg);
		break;
	case BUDDY_IOC_GROW:
		err = buddy_process_grow(p, arg);
		break;
	case BUDDY_IOC_SHARE:
	case BUDDY_IOC_DMABUF:
		err = -EOPNOTSUPP;
		break;
	case BUDDY_IOC_STATS:
		err = do_stats(p, arg);
		break;
	case BUDDY_IOC_EXTENTS:
		err = do_extents(p, arg);
		break;
	}
	pthread_mutex_unlock(&p->lock);
	buddy_cancel_restore(cancel);
	return err;
}

static void process_close(struct buddy_dev *dev)
{
	struct process_dev *p = (struct process_dev *)dev;

	pthread_mutex_destroy(&p->lock);
	buddy_dev_leave(dev);
	buddy_process_table_reset(&p->blocks);
	free(p->place.units);
	free(p->core_mem);
	free(p);
}

static int region_refused(struct buddy_dev *dev, uint64_t bytes, int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_REGION, .error = error, .length = bytes }, dev, NULL);
}

static uint32_t nr_units(uint32_t granules)
{
	return (granules - 1) / BUDDY_PLACE_UNIT + 1;
}

/* All is free; what the last unit has beyond the region is taken, and stays so. */
static int reset_place(struct process_dev *p)
{
	uint32_t units = nr_units(p->granules), beyond = units * BUDDY_PLACE_UNIT - p->granules;
	struct buddy_place_unit *table;

	/* A large table is not in memory before its units are used. */
	free(p->place.units);
	table = p->place.units = calloc(units, sizeof(*table));
	if (!table)
		return -ENOMEM;
	p->owner = (struct buddy_place_owner){ 0 };
	buddy_place_init(&p->place, units, p->core_mem, table);
	if (beyond)
		buddy_place_take(&p->place, &p->owner, p->granules, beyond);
	buddy_process_table_reset(&p->blocks);
	p->low_water = p->granules;
	p->allocs = p->frees = p->fails = 0;
	return 0;
}

/* An empty region of the size that it has. */
static int process_reopen(struct buddy_dev *dev)
{
	struct process_dev *p = (struct process_dev *)dev;
	uint64_t bytes = buddy_process_bytes(p, p->granules);
	uint64_t end = BUDDY_PROCESS_BASE + bytes;
	struct rlimit limit;
	int err, fd;

	/* a file above this limit is a signal that ends the program */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && end > limit.rlim_cur)
		return region_refused(dev, bytes, -EFBIG);
	if (reset_place(p))
		return buddy_fail_memory(OP_REGION, dev, bytes);
	fd = memfd_create("buddy-process", MFD_CLOEXEC);
	if (fd < 0)
		return region_refused(dev, bytes, -errno);
	if (ftruncate(fd, (off_t)end)) {
		err = region_refused(dev, bytes, -errno);
		close(fd);
		return err;
	}
	err = buddy_dev_set_fd(dev, fd);
	if (err)
		return err;
	p->pid = getpid();
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

static const struct buddy_backend_ops process_ops = {
	.name = "process",
	.call = process_call,
	.close = process_close,
	.reopen = process_reopen,
};

static int process_init(struct process_dev *p, uint64_t size)
{
	uint64_t granules;

	p->shift = buddy_log2((uint64_t)sysconf(_SC_PAGESIZE));
	granules = ((size - 1) >> p->shift) + 1;
	if (granules > BUDDY_CORE_MAX_GRANULES)
		return region_refused(&p->dev, size, -EFBIG);
	p->granules = (uint32_t)granules;
	p->core_mem = aligned_alloc(16, buddy_core_bytes(nr_units(p->granules)));
	if (!p->core_mem)
		return buddy_fail_memory(OP_REGION, &p->dev, size);
	return process_reopen(&p->dev);
}

int buddy_process_open(struct buddy_dev **dev, uint64_t size)
{
	struct process_dev *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return buddy_fail_memory(OP_REGION, NULL, size);
	p->dev.ops = &process_ops;
	p->dev.fd = -1;
	err = process_init(p, size);
	if (err) {
		process_close(&p->dev);
		return err;
	}
	*dev = &p->dev;
	return 0;
}
