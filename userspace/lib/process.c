// SPDX-License-Identifier: MIT
/*
 * process.c - the backend without a module: a memfd, and the tree of module/core
 * over its pages. Answers the same commands with the same errnos; what it cannot
 * do (SHARE, DMABUF: its blocks are ranges of one file) is EOPNOTSUPP.
 *
 * Owns opening, closing and questions; process_block.c has what changes the tree.
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
		.out_region = buddy_process_bytes(p, p->core.granules),
		.out_max_align = BUDDY_PROCESS_ALIGN,
		.out_base_align = 1u << p->shift,
		.out_node = -1,
	};
	return 0;
}

static int do_stats(struct process_dev *p, struct buddy_stats *s)
{
	const struct buddy_core *core = &p->core;

	if (s->flags)
		return -EINVAL;
	*s = (struct buddy_stats){
		.size = s->size,
		.out_region = buddy_process_bytes(p, core->granules),
		.out_free = buddy_process_bytes(p, core->free),
		.out_used = buddy_process_bytes(p, core->granules - core->free),
		.out_largest = buddy_process_bytes(p, buddy_core_largest(core)),
		.out_low_water = buddy_process_bytes(p, core->low_water),
		.out_blocks = core->allocs - core->frees,
		.out_allocs = core->allocs,
		.out_frees = core->frees,
		.out_fails = p->fails,
		.out_fragmentation = buddy_core_fragmentation(core),
		.out_orders = buddy_log2(core->granules) + 1,
	};
	for (uint32_t order = 0; order < s->out_orders; order++)
		s->out_free_blocks[order] = buddy_core_count(core, order);
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
	for (; at < p->core.granules && x->out_count < x->count;
	     at = (uint64_t)e.offset + e.size) {
		buddy_core_find(&p->core, (uint32_t)at, &e);
		entries[x->out_count++] = (struct buddy_extent_entry){
			.offset = buddy_process_bytes(p, e.offset),
			.length = buddy_process_bytes(p, e.size),
			.state = e.used ? BUDDY_EXTENT_USED : BUDDY_EXTENT_FREE,
			.pid = e.used ? p->pid : 0,
		};
	}
	x->out_next = buddy_process_bytes(p, at < p->core.granules ? at : p->core.granules);
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
	free(p->core_mem);
	free(p->alone);
	free(p);
}

static int region_refused(struct buddy_dev *dev, uint64_t bytes, int error)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_REGION, .error = error, .length = bytes }, dev, NULL);
}

/* Of the table of blocks that lie alone. */
static size_t units_bytes(const struct process_dev *p)
{
	return (p->core.granules / buddy_process_unit(p) + 1) * sizeof(*p->alone);
}

/* An empty region of the size that it has. */
static int process_reopen(struct buddy_dev *dev)
{
	struct process_dev *p = (struct process_dev *)dev;
	uint32_t granules = p->core.granules;
	uint64_t bytes = buddy_process_bytes(p, granules);
	uint64_t end = BUDDY_PROCESS_BASE + bytes;
	struct rlimit limit;
	int err, fd;

	/* a file above this limit is a signal that ends the program */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && end > limit.rlim_cur)
		return region_refused(dev, bytes, -EFBIG);
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
	buddy_core_init(&p->core, granules, p->core_mem);
	memset(p->alone, 0, units_bytes(p));
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
	p->core_mem = aligned_alloc(16, buddy_core_bytes((uint32_t)granules));
	p->core.granules = (uint32_t)granules;
	p->alone = malloc(units_bytes(p));
	if (!p->core_mem || !p->alone)
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
