// SPDX-License-Identifier: MIT
/*
 * batch.c - many blocks in one call.
 *
 * An array of any length goes to the backend in pieces of BUDDY_BATCH_MAX. All
 * objects are made before the first ALLOC, so nothing can fail between what the
 * backend has done and what the caller is told.
 */
#include <errno.h>
#include <stdlib.h>

#include "private.h"

/* A piece: small enough for any thread's stack. */
#define PIECE	128

static int call_batch(struct buddy_dev *dev, struct buddy_batch_entry *entries,
		      uint32_t count, struct buddy_batch *batch)
{
	*batch = (struct buddy_batch){
		.size = sizeof(*batch),
		.entries = (uintptr_t)entries,
		.count = count,
		.entry_size = sizeof(*entries),
	};
	return dev->ops->call(dev, BUDDY_IOC_BATCH, batch);
}

static int alloc_piece(struct buddy_dev *dev, struct buddy_alloc *requests,
		       uint32_t count, struct buddy_block **blocks, uint32_t *done)
{
	struct buddy_batch_entry entries[PIECE];
	struct buddy_batch batch;
	int err;

	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct buddy_batch_entry){
			.op = BUDDY_BATCH_ALLOC,
			.flags = requests[i].flags,
			.length = requests[i].length,
			.align = requests[i].align,
		};
	err = call_batch(dev, entries, count, &batch);
	for (uint32_t i = 0; i < batch.out_done; i++) {
		requests[i].out_length = entries[i].out_length;
		requests[i].out_offset = entries[i].out_offset;
		requests[i].out_handle = entries[i].handle;
		buddy_block_init(blocks[i], dev, &requests[i]);
	}
	if ((err == -ENOMEM || err == -EDQUOT) && batch.out_done < count) {
		requests[batch.out_done].out_free = batch.out_free;
		requests[batch.out_done].out_largest = batch.out_largest;
		requests[batch.out_done].out_returning = batch.out_returning;
		requests[batch.out_done].out_account_limit = batch.out_account_limit;
		requests[batch.out_done].out_account_used = batch.out_account_used;
	}
	*done += batch.out_done;
	if (!err)
		return 0;
	return buddy_block_refused(dev, &requests[batch.out_done < count ? batch.out_done : 0],
				   err);
}

static void free_from(struct buddy_block **blocks, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < count; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

int buddy_batch_alloc(struct buddy_dev *dev, struct buddy_alloc *requests,
		      uint32_t count, struct buddy_block **blocks, uint32_t *done)
{
	int err = 0;

	*done = 0;
	for (uint32_t i = 0; i < count; i++) {
		blocks[i] = malloc(sizeof(*blocks[i]));
		if (!blocks[i])
			err = buddy_fail_memory(OP_ALLOC, dev, requests[i].length);
	}
	while (!err && *done < count) {
		uint32_t n = count - *done < PIECE ? count - *done : PIECE;

		err = alloc_piece(dev, requests + *done, n, blocks + *done, done);
	}
	free_from(blocks, *done, count);
	return err;
}

static int free_piece(struct buddy_block **blocks, uint32_t count, uint32_t *done)
{
	struct buddy_dev *dev = blocks[0]->dev;
	struct buddy_batch_entry entries[PIECE];
	struct buddy_batch batch;
	int err;

	for (uint32_t i = 0; i < count; i++) {
		buddy_block_unmap(blocks[i]);
		entries[i] = (struct buddy_batch_entry){
			.op = BUDDY_BATCH_FREE,
			.handle = blocks[i]->handle,
		};
	}
	err = call_batch(dev, entries, count, &batch);
	for (uint32_t i = 0; i < batch.out_done; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
	*done += batch.out_done;
	return err ? buddy_fail_at(OP_FREE, dev, err) : 0;
}

int buddy_batch_free(struct buddy_block **blocks, uint32_t count, uint32_t *done)
{
	int err = 0;

	*done = 0;
	for (uint32_t i = 0; i < count; i++)
		if (!blocks[i]->dev || blocks[i]->dev != blocks[0]->dev)
			return buddy_fail_at(OP_BATCH_FREE, blocks[i]->dev, -EINVAL);
	while (!err && *done < count) {
		uint32_t n = count - *done < PIECE ? count - *done : PIECE;

		err = free_piece(blocks + *done, n, done);
	}
	return err;
}
