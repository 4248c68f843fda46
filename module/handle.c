// SPDX-License-Identifier: GPL-2.0-only
/*
 * handle.c - the table of handles of an open file.
 *
 * A handle is the number of a slot, in its low half, and the slot's generation, in its
 * high half. The generation changes whenever a slot is freed, so a number is never
 * issued twice: a slot whose generations are used up is not used again. The first
 * generation is 1, so no handle is 0, or fits 32 bits.
 *
 * A handle is reserved before its block exists, and published with the block when
 * nothing can fail any more. From then on the handle holds a reference to the block.
 *
 * Slots lie in chunks of one page, numbered without a gap, that stay until the file is
 * closed. So the table has room for the most handles that existed at one time, and finds
 * a slot by its number. A chunk is allocated before the lock is taken.
 *
 * file->handles.lock protects the slots and the list of free ones. It is held for a
 * bounded time, outside region->lock.
 */
#include <linux/slab.h>

#include "buddy.h"
#include "compat.h"

/* Ends the list of free slots. The last chunk, which would have it, is never made. */
#define NO_SLOT		U32_MAX
#define LAST_CHUNK	(U32_MAX / BUDDY_HANDLE_SLOTS - 1)
#define LAST_GENERATION	U32_MAX

static u64 handle_of(const struct buddy_handle_slot *slot, u32 index)
{
	return (u64)slot->generation << 32 | index;
}

/* Return: NULL if the table never had so many slots. */
static struct buddy_handle_slot *slot_at(struct buddy_file *file, u32 index)
{
	struct buddy_handle_chunk *chunk =
		xa_load(&file->handles.chunks, index / BUDDY_HANDLE_SLOTS);

	return chunk ? &chunk->slots[index % BUDDY_HANDLE_SLOTS] : NULL;
}

/* Return: NULL if @handle was not issued, or its slot was freed since. */
static struct buddy_handle_slot *slot_of(struct buddy_file *file, u64 handle)
{
	struct buddy_handle_slot *slot = slot_at(file, lower_32_bits(handle));

	lockdep_assert_held(&file->handles.lock);
	return slot && slot->generation == upper_32_bits(handle) ? slot : NULL;
}

static void slot_free(struct buddy_file *file, struct buddy_handle_slot *slot, u32 index)
{
	struct buddy_handles *handles = &file->handles;

	lockdep_assert_held(&handles->lock);
	slot->block = NULL;
	if (slot->generation == LAST_GENERATION)
		return;
	slot->generation++;
	slot->next = handles->free;
	handles->free = index;
}

/**
 * buddy_handle_init() - Make the table of a new file
 * @file: the file
 */
void buddy_handle_init(struct buddy_file *file)
{
	spin_lock_init(&file->handles.lock);
	xa_init_flags(&file->handles.chunks, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
	file->handles.free = NO_SLOT;
}

/* Adds a chunk to the table, and reserves its first slot. */
static int reserve_in_new_chunk(struct buddy_file *file, u64 *handle)
{
	struct buddy_handles *handles = &file->handles;
	struct buddy_handle_chunk *chunk = kzalloc(sizeof(*chunk), GFP_KERNEL_ACCOUNT);
	u32 number, first;

	if (!chunk)
		return -ENOMEM;
	for (u32 i = 0; i < BUDDY_HANDLE_SLOTS; i++)
		chunk->slots[i].generation = 1;
	/* From here on the slots are found, but no handle of them is valid. */
	if (xa_alloc(&handles->chunks, &number, chunk, XA_LIMIT(0, LAST_CHUNK),
		     GFP_KERNEL_ACCOUNT)) {
		kfree(chunk);
		return -ENOMEM;
	}
	first = number * BUDDY_HANDLE_SLOTS;
	for (u32 i = 1; i < BUDDY_HANDLE_SLOTS; i++)
		chunk->slots[i].next = first + i + 1;
	*handle = handle_of(&chunk->slots[0], first);
	spin_lock(&handles->lock);
	chunk->slots[BUDDY_HANDLE_SLOTS - 1].next = handles->free;
	handles->free = first + 1;
	spin_unlock(&handles->lock);
	return 0;
}

/**
 * buddy_handle_reserve() - Take a handle that no call can use yet
 * @file: the file
 * @handle: the handle, for buddy_handle_publish() or buddy_handle_cancel()
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int buddy_handle_reserve(struct buddy_file *file, u64 *handle)
{
	struct buddy_handles *handles = &file->handles;
	struct buddy_handle_slot *slot = NULL;

	spin_lock(&handles->lock);
	if (handles->free != NO_SLOT) {
		slot = slot_at(file, handles->free);
		*handle = handle_of(slot, handles->free);
		handles->free = slot->next;
	}
	spin_unlock(&handles->lock);
	return slot ? 0 : reserve_in_new_chunk(file, handle);
}

/**
 * buddy_handle_cancel() - End a reservation
 * @file: the file
 * @handle: from buddy_handle_reserve(); it is not issued again
 */
void buddy_handle_cancel(struct buddy_file *file, u64 handle)
{
	u32 index = lower_32_bits(handle);

	guard(spinlock)(&file->handles.lock);
	slot_free(file, slot_at(file, index), index);
}

/**
 * buddy_handle_publish() - Let a reserved handle stand for a block; cannot fail
 * @file: the file
 * @handle: from buddy_handle_reserve()
 * @block: the block; the handle takes over one reference to it
 */
void buddy_handle_publish(struct buddy_file *file, u64 handle, struct buddy_kblock *block)
{
	guard(spinlock)(&file->handles.lock);
	slot_at(file, lower_32_bits(handle))->block = block;
}

/**
 * buddy_handle_find() - Look up the block of a handle
 * @file: the file
 * @handle: any number
 *
 * Context: file->handles.lock is held, and keeps the handle.
 * Return: the block, or NULL if @file has no such handle.
 */
struct buddy_kblock *buddy_handle_find(struct buddy_file *file, u64 handle)
{
	struct buddy_handle_slot *slot = slot_of(file, handle);

	return slot ? slot->block : NULL;
}

/**
 * buddy_handle_get() - Take a reference to the block of a handle
 * @file: the file
 * @handle: any number
 *
 * Return: the block with one more reference, or NULL if @file has no such handle.
 */
struct buddy_kblock *buddy_handle_get(struct buddy_file *file, u64 handle)
{
	struct buddy_kblock *block;

	guard(spinlock)(&file->handles.lock);
	block = buddy_handle_find(file, handle);
	if (block)
		buddy_kblock_get(block);
	return block;
}

/**
 * buddy_handle_free() - Free a handle
 * @file: the file
 * @handle: any number
 *
 * Return: the block, whose reference is the caller's from now on, or NULL if @file has
 * no such handle. A handle that is only reserved is none.
 */
struct buddy_kblock *buddy_handle_free(struct buddy_file *file, u64 handle)
{
	struct buddy_kblock *block;

	guard(spinlock)(&file->handles.lock);
	block = buddy_handle_find(file, handle);
	if (block)
		slot_free(file, slot_of(file, handle), lower_32_bits(handle));
	return block;
}

/**
 * buddy_handle_next() - Walk the blocks of a file that is being closed
 * @file: the file; no other task uses it
 * @index: the slot to start at: 0, then what the call before left
 *
 * Context: may sleep.
 * Return: the next block, or NULL at the end. The handle is not freed.
 */
struct buddy_kblock *buddy_handle_next(struct buddy_file *file, u32 *index)
{
	struct buddy_handle_slot *slot;

	while ((slot = slot_at(file, *index))) {
		++*index;
		if (slot->block)
			return slot->block;
		cond_resched();
	}
	return NULL;
}

/**
 * buddy_handle_destroy() - Free the table of a file
 * @file: the file; no other task uses it
 */
void buddy_handle_destroy(struct buddy_file *file)
{
	struct buddy_handle_chunk *chunk;
	unsigned long number;

	xa_for_each(&file->handles.chunks, number, chunk)
		kfree(chunk);
	xa_destroy(&file->handles.chunks);
}
