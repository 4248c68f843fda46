/* SPDX-License-Identifier: MIT */
/*
 * abi_world.h - what abi_test.c and argument_test.c begin with: for each command a
 * call that is good, valid(), what it is about, and what undoes it; refused() shows
 * that a wrong one left the region as it was. The fixtures are WORLD_FIXTURE()s.
 */
#ifndef ABI_WORLD_H
#define ABI_WORLD_H

#include <stddef.h>

#include "ktest.h"

#define PAGES	4	/* of the block that the calls are about */

union argument {
	struct buddy_info info;
	struct buddy_alloc alloc;
	struct buddy_free free;
	struct buddy_stats stats;
	struct buddy_extents extents;
	struct buddy_share share;
	struct buddy_block_info block;
	struct buddy_batch batch;
	struct buddy_resize resize;
};

/* What the calls are about, and what they need to be good. */
static struct buddy_alloc mine;
static int other, block, dmabuf;
static uint64_t foreign, freed;
static struct buddy_extent_entry extents[4];
static struct buddy_batch_entry entries[2];

static void world_begin(void)
{
	struct buddy_alloc a;

	other = device_open();
	/* another file issues the same numbers: one that is not issued here */
	for (int i = 0; i < 100; i++)
		expect_eq(alloc_block(other, PAGE, &a), 0);
	foreign = a.out_handle;
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	freed = a.out_handle;
	expect_eq(free_block(fd, freed), 0);
	expect_eq(alloc_block(fd, PAGES * PAGE, &mine), 0);
	expect(foreign != freed && foreign != mine.out_handle);
	block = share_block(fd, BUDDY_IOC_SHARE, mine.out_handle, 0);
	expect(block >= 0);
	dmabuf = share_block(fd, BUDDY_IOC_DMABUF, mine.out_handle, 0);
	expect(dmabuf >= 0);
}

static void world_end(void)
{
	close(dmabuf);
	close(block);
	close(other);
}

#define WORLD_FIXTURE(_name)						\
	FIXTURE(_name) {};						\
	FIXTURE_SETUP(_name) { test_begin(_metadata); world_begin(); }	\
	FIXTURE_TEARDOWN(_name) { world_end(); test_end(); }		\
	FIXTURE_VARIANT(_name)

/* The argument of a good call, and what makes it one. Return: its struct's length. */
static uint32_t valid(unsigned long command, union argument *arg)
{
	memset(arg, 0, sizeof(*arg));
	arg->info.size = _IOC_SIZE(command);
	switch (command) {
	case BUDDY_IOC_ALLOC:
		arg->alloc.length = 3 * PAGE;
		break;
	case BUDDY_IOC_FREE:
		arg->free.handle = mine.out_handle;
		break;
	case BUDDY_IOC_EXTENTS:
		arg->extents.entries = (uintptr_t)extents;
		arg->extents.count = 4;
		break;
	case BUDDY_IOC_SHARE:
	case BUDDY_IOC_DMABUF:
		arg->share.handle = mine.out_handle;
		break;
	case BUDDY_IOC_BATCH:
		arg->batch.entries = (uintptr_t)entries;
		arg->batch.count = 2;
		arg->batch.entry_size = sizeof(entries[0]);
		for (int i = 0; i < 2; i++)
			entries[i] = (struct buddy_batch_entry){
				.op = BUDDY_BATCH_ALLOC,
				.length = PAGE,
			};
		break;
	case BUDDY_IOC_TRIM:
	case BUDDY_IOC_GROW:
		arg->resize.handle = mine.out_handle;
		arg->resize.length = (command == BUDDY_IOC_TRIM ? 1 : 6) * PAGE;
		/* only while nothing else refers to the block */
		close(dmabuf);
		close(block);
		block = dmabuf = -1;
	}
	return arg->info.size;
}

static int file_of(unsigned long command)
{
	return command == BUDDY_IOC_BLOCK ? block : fd;
}

/* What a good call made is there; and is undone. */
static void undo(unsigned long command, const union argument *arg)
{
	switch (command) {
	case BUDDY_IOC_ALLOC:
		expect_eq(free_block(fd, arg->alloc.out_handle), 0);
		break;
	case BUDDY_IOC_FREE:
		expect_eq(free_block(fd, mine.out_handle), -ENOENT);
		/* TRIM, GROW and SHARE have another one from here on */
		expect_eq(alloc_block(fd, PAGES * PAGE, &mine), 0);
		break;
	case BUDDY_IOC_SHARE:
	case BUDDY_IOC_DMABUF:
		expect_eq(close(arg->share.out_fd), 0);
		break;
	case BUDDY_IOC_BATCH:
		for (int i = 0; i < 2; i++)
			expect_eq(free_block(fd, entries[i].handle), 0);
		break;
	case BUDDY_IOC_TRIM:
	case BUDDY_IOC_GROW:
		expect_eq(resize(fd, command == BUDDY_IOC_TRIM ? BUDDY_IOC_GROW :
				 BUDDY_IOC_TRIM, mine.out_handle, PAGES * PAGE), 0);
	}
}

/* The call gives @error, and nothing has happened. */
static void refused(int file, unsigned long command, void *arg, int error)
{
	struct buddy_stats before = settled_stats(fd, 0), after;
	int lowest = dup(fd), now_lowest;

	close(lowest);
	expect_eq(call(file, command, arg), error);
	after = get_stats(fd);
	expect_eq(after.out_used, before.out_used);
	expect_eq(after.out_blocks, before.out_blocks);
	expect_eq(after.out_private, before.out_private);
	now_lowest = dup(fd);
	close(now_lowest);
	expect_eq(now_lowest, lowest);
}

#endif /* ABI_WORLD_H */
