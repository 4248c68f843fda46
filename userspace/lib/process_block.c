// SPDX-License-Identifier: MIT
/*
 * process_block.c - blocks of the process backend: ranges of its memfd.
 *
 * All is called with the lock of the process_dev. A freed range is punched out of
 * the memfd before it goes back to the tree, so what is in the tree is zero, as in
 * the module. A block's handle is its first granule + 1.
 *
 * A block that lies alone takes whole units of 2 MiB; its length is in p->alone[].
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "core/buddy_request.h"
#include "process.h"

/* Where the length of a block is, if it lies alone. NULL: it does not start a unit. */
static uint32_t *alone_at(struct process_dev *p, uint32_t first)
{
	uint32_t unit = buddy_process_unit(p);

	return first % unit ? NULL : &p->alone[first / unit];
}

/* The length of a block that lies alone; 0 for others. */
static uint32_t alone_length(struct process_dev *p, const struct buddy_core_span *e)
{
	uint32_t *alone = alone_at(p, e->offset);

	return alone ? *alone : 0;
}

/* What a block takes of which @granules can be used. */
static uint64_t taken(const struct process_dev *p, uint64_t granules, bool alone)
{
	uint32_t unit = buddy_process_unit(p);

	return alone ? (granules + unit - 1) / unit * unit : granules;
}

int buddy_process_alloc(struct process_dev *p, struct buddy_alloc *alloc)
{
	struct buddy_request request = {
		.length = alloc->length,
		.align = alloc->align,
		.max_align = BUDDY_PROCESS_ALIGN,
		.pow2 = alloc->flags & BUDDY_ALLOC_POW2,
		/* nothing here is contiguous but in the file, and there in one range */
		.scatter = alloc->flags & BUDDY_ALLOC_SCATTER,
		.shift = p->shift,
		.limit = p->core.granules,
	};
	bool alone = alloc->flags & BUDDY_ALLOC_ALONE;
	uint64_t granules;
	long first;
	int err;

	if (alloc->flags & ~(BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE))
		return -EINVAL;
	err = buddy_request_check(&request);
	if (err)
		return err;
	granules = taken(p, request.granules, alone);
	if (granules > p->core.granules)
		return -EFBIG;
	*alloc = (struct buddy_alloc){
		.size = alloc->size,
		.flags = alloc->flags,
		.length = alloc->length,
		.align = alloc->align,
	};
	if (alone && request.granule_align < buddy_process_unit(p))
		request.granule_align = buddy_process_unit(p);
	first = buddy_core_alloc(&p->core, (uint32_t)granules, request.granule_align);
	if (first < 0) {
		p->fails++;
		alloc->out_free = buddy_process_bytes(p, p->core.free);
		alloc->out_largest = buddy_process_bytes(p, buddy_core_largest(&p->core));
		return -ENOMEM;
	}
	if (alone)
		*alone_at(p, (uint32_t)first) = request.granules;
	alloc->out_length = buddy_process_bytes(p, request.granules);
	alloc->out_offset = BUDDY_PROCESS_BASE + buddy_process_bytes(p, (uint64_t)first);
	alloc->out_handle = (uint64_t)first + 1;
	return 0;
}

/* Makes granules zero again, and no memory. */
static int punch(struct process_dev *p, uint32_t first, uint32_t size)
{
	off_t offset = (off_t)(BUDDY_PROCESS_BASE + buddy_process_bytes(p, first));

	if (!buddy_dev_is_open(&p->dev))
		return -EBADF;
	return fallocate(p->dev.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 offset, (off_t)buddy_process_bytes(p, size)) ? -errno : 0;
}

static int find_block(struct process_dev *p, uint64_t handle,
		      struct buddy_core_span *e)
{
	if (!handle || handle > p->core.granules ||
	    buddy_core_find(&p->core, (uint32_t)handle - 1, e) || !e->used ||
	    e->offset != handle - 1)
		return -ENOENT;
	return 0;
}

int buddy_process_free(struct process_dev *p, struct buddy_free *request)
{
	struct buddy_core_span e;
	int err = find_block(p, request->handle, &e);

	if (!err)
		err = punch(p, e.offset, e.size);
	if (err)
		return err;
	if (alone_length(p, &e))
		*alone_at(p, e.offset) = 0;
	return buddy_core_free(&p->core, e.offset, e.size);
}

/* Finds the block, and the granules it is to have. */
static int resize_check(struct process_dev *p, const struct buddy_resize *resize,
			struct buddy_core_span *e, uint64_t *granules)
{
	if (resize->flags || !resize->length)
		return -EINVAL;
	*granules = ((resize->length - 1) >> p->shift) + 1;
	if (*granules > p->core.granules)
		return -EFBIG;
	return find_block(p, resize->handle, e);
}

int buddy_process_trim(struct process_dev *p, struct buddy_resize *resize)
{
	struct buddy_core_span e;
	uint64_t granules;
	uint32_t keep, alone;
	int err = resize_check(p, resize, &e, &granules);

	if (err)
		return err;
	alone = alone_length(p, &e);
	if (granules > (alone ? alone : e.size))
		return -EINVAL;
	keep = (uint32_t)granules;
	if (keep == e.size)
		return 0;
	err = punch(p, e.offset + keep, e.size - keep);
	if (err)
		return err;
	if (alone)
		*alone_at(p, e.offset) = keep;
	keep = (uint32_t)taken(p, keep, alone);
	if (keep == e.size)
		return 0;
	err = buddy_core_divide(&p->core, e.offset, e.size, keep);
	return err ? err : buddy_core_free(&p->core, e.offset + keep, e.size - keep);
}

int buddy_process_grow(struct process_dev *p, struct buddy_resize *resize)
{
	struct buddy_core_span e;
	uint64_t granules;
	uint32_t more;
	int err = resize_check(p, resize, &e, &granules);

	if (err)
		return err;
	if (alone_length(p, &e))
		return -EOPNOTSUPP;
	if (granules < e.size)
		return -EINVAL;
	if (granules > p->core.granules - e.offset)
		return -EFBIG;
	more = (uint32_t)granules - e.size;
	if (!more)
		return 0;
	if (buddy_core_take(&p->core, e.offset + e.size, more))
		return -ENOMEM;
	return buddy_core_join(&p->core, e.offset, e.size, more);
}

static int batch_alloc(struct process_dev *p, struct buddy_batch *batch,
		       struct buddy_batch_entry *entry)
{
	struct buddy_alloc alloc = {
		.size = sizeof(alloc),
		.flags = entry->flags,
		.length = entry->length,
		.align = entry->align,
	};
	int err = buddy_process_alloc(p, &alloc);

	if (err) {
		batch->out_free = alloc.out_free;
		batch->out_largest = alloc.out_largest;
		return err;
	}
	entry->out_length = alloc.out_length;
	entry->out_offset = alloc.out_offset;
	entry->handle = alloc.out_handle;
	return 0;
}

static int batch_one(struct process_dev *p, struct buddy_batch *batch,
		     struct buddy_batch_entry *entry)
{
	struct buddy_free request = { .handle = entry->handle };

	switch (entry->op) {
	case BUDDY_BATCH_ALLOC:
		return batch_alloc(p, batch, entry);
	case BUDDY_BATCH_FREE:
		if (entry->flags || entry->length || entry->align)
			return -EINVAL;
		return buddy_process_free(p, &request);
	default:
		return -EINVAL;
	}
}

int buddy_process_batch(struct process_dev *p, struct buddy_batch *batch)
{
	struct buddy_batch_entry *entries = (void *)(uintptr_t)batch->entries;
	int err = 0;

	if (batch->flags || batch->reserved || !batch->count ||
	    batch->count > BUDDY_BATCH_MAX || batch->entry_size != sizeof(*entries))
		return -EINVAL;
	*batch = (struct buddy_batch){
		.size = batch->size,
		.entries = batch->entries,
		.count = batch->count,
		.entry_size = batch->entry_size,
	};
	while (!err && batch->out_done < batch->count) {
		err = batch_one(p, batch, &entries[batch->out_done]);
		batch->out_done += !err;
	}
	return err;
}
