// SPDX-License-Identifier: MIT
/*
 * process_block.c - blocks of the process backend: ranges of its memfd.
 *
 * The placement says where a block lies (core/buddy_place.h), and the table of blocks how
 * long it is. Invariant: the parts that a block has in the placement are those that
 * buddy_place_parts() tells of its range.
 *
 * All is called with the lock of the process_dev. A freed range is punched out of the memfd
 * before it goes back to the placement, so what is free is zero, as in the module. FREE and
 * TRIM take no memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "core/buddy_request.h"
#include "process.h"

#define U	BUDDY_PLACE_UNIT

static void note_low_water(struct process_dev *p)
{
	uint32_t granules = buddy_process_free_granules(p);

	if (granules < p->low_water)
		p->low_water = granules;
}

/* What a block takes for its length: whole units, if it lies alone. */
static uint64_t taken(uint64_t granules, bool alone)
{
	return alone ? (granules + U - 1) / U * U : granules;
}

/* Takes a range for a block. Return: its first granule, or a negative errno. */
static long take(struct process_dev *p, const struct buddy_place_want *want)
{
	long first = buddy_process_table_reserve(&p->blocks);

	if (first)
		return first;
	do {
		first = buddy_place_alloc(&p->place, &p->owner, want);
	} while (first == -EAGAIN);
	return first;
}

/* The numbers that come with ENOMEM. */
static int say_shortage(struct process_dev *p, struct buddy_alloc *alloc)
{
	bool alone = alloc->flags & BUDDY_ALLOC_ALONE;
	uint32_t granules = alone ? p->place.core.free * U : buddy_process_free_granules(p);
	uint32_t longest = alone ? buddy_place_longest_run(&p->place) * U :
				   buddy_process_longest(p);

	p->fails++;
	alloc->out_free = buddy_process_bytes(p, granules);
	alloc->out_largest = buddy_process_bytes(p, longest);
	return -ENOMEM;
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
		.limit = p->granules,
	};
	struct process_block block = { .alone = alloc->flags & BUDDY_ALLOC_ALONE };
	struct buddy_place_want want = { .pow2 = request.pow2 };
	uint64_t granules;
	long first;
	int err;

	if (alloc->flags & ~(BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE))
		return -EINVAL;
	err = buddy_request_check(&request);
	if (err)
		return err;
	granules = taken(request.granules, block.alone);
	if (granules > p->granules)
		return -EFBIG;
	*alloc = (struct buddy_alloc){
		.size = alloc->size,
		.flags = alloc->flags,
		.length = alloc->length,
		.align = alloc->align,
	};
	want.pages = (uint32_t)granules;
	want.align = request.granule_align;
	first = take(p, &want);
	if (first < 0)
		return say_shortage(p, alloc);
	p->allocs++;
	note_low_water(p);
	block.first = (uint32_t)first;
	block.granules = request.granules;
	alloc->out_length = buddy_process_bytes(p, request.granules);
	alloc->out_offset = BUDDY_PROCESS_BASE + buddy_process_bytes(p, (uint64_t)first);
	alloc->out_handle = buddy_process_table_insert(&p->blocks, &block);
	return 0;
}

/* Makes granules zero again, and no memory. */
static int punch(struct process_dev *p, uint32_t first, uint32_t granules)
{
	off_t offset = (off_t)(BUDDY_PROCESS_BASE + buddy_process_bytes(p, first));

	if (!buddy_dev_is_open(&p->dev))
		return -EBADF;
	return fallocate(p->dev.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
			 (off_t)buddy_process_bytes(p, granules)) ? -errno : 0;
}

/* A range with all of its parts, which is zero, becomes free. */
static void release(struct process_dev *p, uint32_t first, uint32_t granules)
{
	struct buddy_place_parts parts = buddy_place_parts(first, granules);

	if (parts.head)
		buddy_place_free(&p->place, first, parts.head);
	if (parts.units)
		buddy_place_free_units(&p->place, parts.first, parts.units);
	if (parts.tail)
		buddy_place_free(&p->place, first + granules - parts.tail, parts.tail);
}

int buddy_process_free(struct process_dev *p, struct buddy_free *request)
{
	struct process_block *block = buddy_process_table_find(&p->blocks, request->handle);
	uint32_t granules;
	int err;

	if (!block)
		return -ENOENT;
	granules = (uint32_t)taken(block->granules, block->alone);
	err = punch(p, block->first, granules);
	if (err)
		return err;
	release(p, block->first, granules);
	buddy_process_table_remove(&p->blocks, block);
	p->frees++;
	return 0;
}

/* Finds the block, and the granules it is to have. */
static int resize_check(struct process_dev *p, const struct buddy_resize *resize,
			struct process_block **block, uint64_t *granules)
{
	if (resize->flags || !resize->length)
		return -EINVAL;
	*granules = ((resize->length - 1) >> p->shift) + 1;
	if (*granules > p->granules)
		return -EFBIG;
	*block = buddy_process_table_find(&p->blocks, resize->handle);
	return *block ? 0 : -ENOENT;
}

/* Where what a range has of a unit begins. */
static uint32_t start_in(uint32_t first, uint32_t unit)
{
	return first > unit * U ? first : unit * U;
}

/* The whole units of a block become those before the unit of @cut, and those behind. */
static void divide_units(struct process_dev *p, const struct buddy_place_parts *parts,
			 uint32_t cut)
{
	uint32_t unit = cut / U, before = unit - parts->first, behind = parts->units - before;

	if (before)
		buddy_place_divide(&p->place, parts->first, parts->units, before);
	if (!(cut % U))
		return;
	if (behind > 1)
		buddy_place_divide(&p->place, unit, behind, 1);
	buddy_place_split(&p->place, &p->owner, unit, cut % U);
}

/* The placement has two ranges where there was one: from @cut on, and before that. */
static void divide(struct process_dev *p, uint32_t first, uint32_t granules, uint32_t cut)
{
	struct buddy_place_parts parts = buddy_place_parts(first, granules);
	uint32_t unit = cut / U, start = start_in(first, unit);
	uint32_t end = first + granules, most = (unit + 1) * U;

	if (unit >= parts.first && unit < parts.first + parts.units)
		divide_units(p, &parts, cut);
	else if (cut % U)
		buddy_bits_divide(&p->place.units[unit].bits, start % U,
				  (end < most ? end : most) - start, cut - start);
}

int buddy_process_trim(struct process_dev *p, struct buddy_resize *resize)
{
	struct process_block *block;
	uint32_t keep, had, first;
	uint64_t granules;
	int err = resize_check(p, resize, &block, &granules);

	if (err)
		return err;
	if (granules > block->granules)
		return -EINVAL;
	if (granules == block->granules)
		return 0;
	first = block->first;
	had = (uint32_t)taken(block->granules, block->alone);
	keep = (uint32_t)granules;
	err = punch(p, first + keep, had - keep);
	if (err)
		return err;
	block->granules = keep;
	keep = (uint32_t)taken(keep, block->alone);
	if (keep == had)
		return 0;
	divide(p, first, had, first + keep);
	release(p, first + keep, had - keep);
	return 0;
}

/*
 * The granules behind a block, which were taken, become a part of it. Where it ended inside
 * a unit they go on there; if it fills that unit now, that is one of its whole units.
 */
static void append(struct process_dev *p, struct process_block *block, uint32_t more)
{
	uint32_t end = block->first + block->granules, unit = end / U;
	uint32_t start = start_in(block->first, unit), first;
	struct buddy_place_parts parts = buddy_place_parts(block->first, block->granules);
	struct buddy_place_parts added = buddy_place_parts(end, more);

	if (end % U)
		buddy_bits_join(&p->place.units[unit].bits, start % U, end - start, added.head);
	block->granules += more;
	first = buddy_place_parts(block->first, block->granules).first;
	if (end % U && !(start % U) && end - start + added.head == U) {
		buddy_place_unsplit(&p->place, unit);
		if (parts.units)
			buddy_place_join(&p->place, first, parts.units, 1);
		parts.units++;
	}
	if (parts.units && added.units)
		buddy_place_join(&p->place, first, parts.units, added.units);
}

int buddy_process_grow(struct process_dev *p, struct buddy_resize *resize)
{
	struct process_block *block;
	uint64_t granules;
	uint32_t more;
	int err = resize_check(p, resize, &block, &granules);

	if (err)
		return err;
	if (block->alone)
		return -EOPNOTSUPP;
	if (granules < block->granules)
		return -EINVAL;
	if (granules > p->granules - block->first)
		return -EFBIG;
	more = (uint32_t)granules - block->granules;
	if (!more)
		return 0;
	if (buddy_place_take(&p->place, &p->owner, block->first + block->granules, more))
		return -ENOMEM;
	append(p, block, more);
	note_low_water(p);
	return 0;
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
