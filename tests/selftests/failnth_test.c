// SPDX-License-Identifier: MIT
/*
 * failnth_test.c - each allocation of each command of /dev/buddy fails once, of a
 * block fd and of a dma-buf too, and each copy from and to the user. Needs root, a
 * kernel with FAULT_INJECTION, the module and buddy_peer.ko.
 */
#define _GNU_SOURCE
#include "dmabuf_calls.h"
#include "failnth_sweep.h"

static int peer;
static struct buddy_alloc block, beside, dirty;
static int made = -1;		/* a block fd or a dma-buf */
static char *mapped;

static void map_all(const struct buddy_alloc *a)
{
	mapped = map_block(fd, a);
	must(mapped != MAP_FAILED);
}

static void unmap_all(const struct buddy_alloc *a)
{
	munmap(mapped, a->out_length);
}

/* Zero as it came; then full, so that it has to be zeroed again. */
static void check_new(void)
{
	map_all(&block);
	must(is_zero(mapped, block.out_length));
	fill(mapped, FILLED, block.out_length);
	unmap_all(&block);
}

static void take_block(void)
{
	must(!alloc_block(fd, self->length, &block));
}

static void take_full(void)
{
	take_block();
	map_all(&block);
	fill(mapped, FILLED, block.out_length);
	unmap_all(&block);
}

static void check_full(void)
{
	map_all(&block);
	must(intact(mapped, block.out_length));
	unmap_all(&block);
}

static void check_full_after(int err)
{
	(void)err;
	check_full();
}

static void free_it(void)
{
	must(!free_block(fd, block.out_handle));
}

/*
 * INFO, STATS, EXTENTS, BLOCK
 */

static int run_info(void)
{
	struct buddy_info info = { .size = sizeof(info) };

	return call(fd, BUDDY_IOC_INFO, &info);
}

static int run_stats(void)
{
	struct buddy_stats s = { .size = sizeof(s) };

	return call(fd, BUDDY_IOC_STATS, &s);
}

static int run_extents(void)
{
	struct buddy_extent_entry entries[FENCE_UNITS + 1];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)entries,
		.count = FENCE_UNITS + 1,
	};
	int err = call(fd, BUDDY_IOC_EXTENTS, &x);

	if (!err)
		must(x.out_next == region && x.out_count == (uint32_t)fences);
	return err;
}

static int run_block(void)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	int err = call(made, BUDDY_IOC_BLOCK, &info);

	if (!err)
		must(info.out_length == block.out_length);
	return err;
}

/*
 * ALLOC, FREE
 */

static int run_alloc(void)
{
	block = (struct buddy_alloc){
		.size = sizeof(block),
		.flags = self->flags,
		.length = self->length,
		.align = self->align,
	};
	return call(fd, BUDDY_IOC_ALLOC, &block);
}

static void begin_beside(void)
{
	must(!alloc_block(fd, PAGE, &beside));
}

static void begin_all_taken(void)
{
	must(!alloc_block(fd, region, &beside));
}

static void end_beside(void)
{
	must(!free_block(fd, beside.out_handle));
}

static void check_refusal(void)
{
	must(!block.out_handle && !block.out_offset);
	must(!block.out_free && !block.out_largest && !block.out_returning);
}

static void take_dirty(uint64_t length, struct buddy_alloc *a)
{
	must(!alloc_block(fd, length, a));
	map_all(a);
	fill(mapped, FILLED, PAGE);
	unmap_all(a);
}

static void prepare_dirty(void)
{
	take_dirty(region, &dirty);
}

/* What it frees it waits for. */
static int run_free_and_alloc(void)
{
	int err = dirty.out_handle ? free_block(fd, dirty.out_handle) : 0;

	if (err)
		return err;
	dirty.out_handle = 0;
	block = (struct buddy_alloc){ .size = sizeof(block), .length = region };
	return call(fd, BUDDY_IOC_ALLOC, &block);
}

static void dirty_again(int err)
{
	(void)err;
	if (!dirty.out_handle) {
		look();
		prepare_dirty();
	}
}

static int run_free(void)
{
	return free_block(fd, block.out_handle);
}

/*
 * TRIM, GROW
 */

static int run_resize(void)
{
	return resize(fd, self->command, block.out_handle, self->align);
}

/* self->align is the length that it got. */
static void check_resized(void)
{
	uint64_t kept = self->align < self->length ? self->align : self->length;

	block.out_length = self->align;
	map_all(&block);
	must(intact(mapped, kept));
	must(is_zero(mapped + kept, self->align - kept));
	unmap_all(&block);
}

/* The next unit is another block's. */
static void prepare_blocked(void)
{
	take_full();
	must(!alloc_block(fd, 2 * MIB, &beside));
	must(beside.out_offset == block.out_offset + self->length);
}

static void undo_blocked(void)
{
	free_it();
	end_beside();
}

/*
 * BATCH: three ALLOCs around a FREE
 */

#define ENTRIES	4

static struct buddy_batch batch;
static struct buddy_batch_entry entries[ENTRIES];

static int run_batch(void)
{
	entries[0] = (struct buddy_batch_entry){ .op = BUDDY_BATCH_ALLOC, .length = 3 * PAGE };
	entries[1] = (struct buddy_batch_entry){ .op = BUDDY_BATCH_ALLOC, .length = 2 * MIB };
	entries[2] = (struct buddy_batch_entry){
		.op = BUDDY_BATCH_FREE,
		.handle = block.out_handle,
	};
	entries[3] = (struct buddy_batch_entry){
		.op = BUDDY_BATCH_ALLOC,
		.length = 2 * MIB + PAGE,
	};
	batch = (struct buddy_batch){
		.size = sizeof(batch),
		.entries = (uintptr_t)entries,
		.count = ENTRIES,
		.entry_size = sizeof(entries[0]),
	};
	return call(fd, BUDDY_IOC_BATCH, &batch);
}

static void free_batch(int done)
{
	for (int i = 0; i < ENTRIES; i++) {
		if (entries[i].op != BUDDY_BATCH_ALLOC)
			continue;
		if (i < done)
			must(entries[i].handle && !free_block(fd, entries[i].handle));
		else
			must(!entries[i].handle);
	}
}

/*
 * out_done says what was done. Only the last reply, where it is that which failed,
 * leaves it at 0; then all was.
 */
static void batch_failed(int err)
{
	int done = (int)batch.out_done;

	if (err == -EFAULT && !done && entries[ENTRIES - 1].handle)
		done = ENTRIES;
	free_batch(done);
	must(free_block(fd, block.out_handle) == (done > 2 ? -ENOENT : 0));
	take_block();
}

static void check_batch(void)
{
	must(batch.out_done == ENTRIES);
	must(free_block(fd, block.out_handle) == -ENOENT);
	free_batch(ENTRIES);
}

/*
 * SHARE, DMABUF
 */

static int run_share(void)
{
	made = share_block(fd, self->command, block.out_handle, self->flags);
	return made < 0 ? made : 0;
}

static void check_made(void)
{
	int writing = self->flags ? PROT_READ : PROT_READ | PROT_WRITE;
	char *p = mmap(NULL, block.out_length, writing, MAP_SHARED, made, 0);

	must(p != MAP_FAILED && intact(p, block.out_length));
	munmap(p, block.out_length);
	if (self->flags)
		must(mmap(NULL, PAGE, RW, MAP_SHARED, made, 0) == MAP_FAILED);
}

static void close_made(void)
{
	close(made);
	made = -1;
	check_full();
	free_it();
}

static void prepare_share(void)
{
	take_full();
	made = share_block(fd, BUDDY_IOC_SHARE, block.out_handle, 0);
	must(made >= 0);
}

/* The last reference, and the file's release with it. */
static int run_close_last(void)
{
	return result(close(made));
}

static void prepare_last(void)
{
	take_full();
	made = share_block(fd, self->command, block.out_handle, 0);
	must(made >= 0);
	free_it();
}

/*
 * A device that imports
 */

static void words_to(uint64_t word)
{
	uint64_t *words;

	map_all(&block);
	words = (uint64_t *)mapped;
	for (uint64_t i = 0; i < block.out_length / 8; i++)
		words[i] = word;
	unmap_all(&block);
}

static void prepare_dmabuf(void)
{
	must(!(self->flags & BUDDY_ALLOC_SCATTER ? scatter_block(fd, self->length, &block) :
						   alloc_block(fd, self->length, &block)));
	words_to(W1);
	made = make_dmabuf(fd, block.out_handle, 0);
	must(made >= 0);
}

static int run_import(void)
{
	return import(peer, made, PEER_WRITE);
}

static int64_t bad_words(uint32_t through, uint64_t word)
{
	struct peer_range range = {
		.length = block.out_length,
		.word = word,
		.through = through,
	};

	return call(peer, PEER_CHECK, &range) ?: (int64_t)range.out_bad;
}

static void check_import(void)
{
	struct peer_range range = {
		.length = block.out_length,
		.word = W2,
		.through = DMA,
	};

	must(!bad_words(DMA, W1));
	must(!call(peer, PEER_FILL, &range));
	must(!bad_words(DMA, W2));
}

static void undo_import(void)
{
	must(!detach(peer));
	close(made);
	made = -1;
	free_it();
}

static void prepare_imported(void)
{
	prepare_dmabuf();
	must(!run_import());
}

static int run_vmap(void)
{
	return (int)bad_words(VMAP, W1);
}

static int run_sync(void)
{
	struct peer_sync begin = { .flags = 0 }, end = { .flags = PEER_SYNC_END };

	return call(peer, PEER_SYNC, &begin) ?: call(peer, PEER_SYNC, &end);
}

static int run_sync_cpu(void)
{
	return sync_cpu(made, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW) ?:
	       sync_cpu(made, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

static int run_detach(void)
{
	return detach(peer);
}

static void undo_detached(void)
{
	close(made);
	made = -1;
	free_it();
}

/* Pages that nobody has touched: pinning them faults. */
static void prepare_pin(void)
{
	take_block();
	map_all(&block);
}

static int run_pin(void)
{
	return peer_pin(peer, mapped, block.out_length, PEER_WRITE | (uint32_t)self->flags);
}

static void check_pin(void)
{
	must(!peer_fill(peer, PEER_THROUGH_PIN, 0, block.out_length, W2));
	must(!words_check(mapped, block.out_length, W2));
}

static void undo_pin(void)
{
	must(!peer_unpin(peer));
	unmap_all(&block);
	free_it();
}

#define NO_MEMORY	.may = { ENOMEM, EFAULT }
#define ALLOC(_length)	.run = run_alloc, .check = check_new, .undo = free_it,	\
			.length = (_length), NO_MEMORY
#define RESIZE(_how, _from, _to) .prepare = take_full, .run = run_resize,	\
			.failed = check_full_after, .check = check_resized,	\
			.undo = free_it, .command = (_how), .length = (_from),	\
			.align = (_to), NO_MEMORY
#define SHARE(_how, _length, _flags) .prepare = take_full, .run = run_share,	\
			.failed = check_full_after, .check = check_made,	\
			.undo = close_made, .command = (_how), .length = (_length), \
			.flags = (_flags), NO_MEMORY
#define IMPORTED(_run)	.prepare = prepare_imported, .run = (_run),		\
			.undo = undo_import, .length = 5 * MIB + PAGE

static const struct op ops[] = {
	{ "INFO", .run = run_info, .may = { EFAULT } },
	{ "STATS", .run = run_stats, .may = { EFAULT } },
	{ "EXTENTS", .run = run_extents, .begin = fence_up_all, .end = fence_down_all,
	  .may = { EFAULT } },
	{ "ALLOC, small, in a new unit", ALLOC(3 * PAGE) },
	{ "ALLOC, small, in a unit that is there", ALLOC(3 * PAGE), .begin = begin_beside,
	  .end = end_beside },
	{ "ALLOC, a unit", ALLOC(2 * MIB) },
	{ "ALLOC, with a tail", ALLOC(5 * MIB + PAGE), .held_back = true },
	{ "ALLOC, a power of two", ALLOC(3 * MIB), .flags = BUDDY_ALLOC_POW2 },
	{ "ALLOC, alone", ALLOC(2 * MIB + PAGE), .flags = BUDDY_ALLOC_ALONE },
	{ "ALLOC, aligned", ALLOC(PAGE), .align = 4 * MIB },
	{ "ALLOC, refused", .run = run_alloc, .begin = begin_all_taken,
	  .end = end_beside, .length = PAGE, .want = -ENOMEM, .may = { EFAULT },
	  .check = check_refusal, .held_back = true },
	{ "ALLOC, of what is on its way back", .prepare = prepare_dirty,
	  .run = run_free_and_alloc, .failed = dirty_again, .undo = free_it,
	  .held_back = true, NO_MEMORY },
	{ "SCATTER, in one piece", ALLOC(5 * MIB + PAGE), .flags = BUDDY_ALLOC_SCATTER },
	{ "SCATTER, in six pieces", ALLOC(10 * MIB + PAGE), .flags = BUDDY_ALLOC_SCATTER,
	  .begin = fence_up_all, .end = fence_down_all, .held_back = true },
	{ "SCATTER, alone, in six pieces", ALLOC(10 * MIB + PAGE),
	  .flags = BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE,
	  .begin = fence_up_all, .end = fence_down_all, .held_back = true },
	{ "FREE", .prepare = take_full, .run = run_free, .failed = check_full_after,
	  .length = 2 * MIB + PAGE, .may = { EFAULT } },
	{ "TRIM, into a unit", RESIZE(BUDDY_IOC_TRIM, 7 * MIB, 2 * MIB + PAGE),
	  .held_back = true },
	{ "TRIM, of a tail", RESIZE(BUDDY_IOC_TRIM, 2 * MIB + 4 * PAGE, 2 * MIB + PAGE) },
	{ "TRIM, to whole units", RESIZE(BUDDY_IOC_TRIM, 5 * MIB, 2 * MIB) },
	{ "TRIM, small", RESIZE(BUDDY_IOC_TRIM, 8 * PAGE, PAGE) },
	{ "GROW, by units and a tail", RESIZE(BUDDY_IOC_GROW, 2 * MIB, 5 * MIB),
	  .held_back = true },
	{ "GROW, of a tail", RESIZE(BUDDY_IOC_GROW, 2 * MIB + PAGE, 2 * MIB + 4 * PAGE) },
	{ "GROW, of a tail to units", RESIZE(BUDDY_IOC_GROW, 3 * MIB, 6 * MIB) },
	{ "GROW, refused", .prepare = prepare_blocked, .run = run_resize,
	  .failed = check_full_after, .check = check_full, .undo = undo_blocked,
	  .command = BUDDY_IOC_GROW, .length = 2 * MIB, .align = 4 * MIB,
	  .want = -ENOMEM, .may = { EFAULT } },
	{ "BATCH", .prepare = take_block, .run = run_batch, .failed = batch_failed,
	  .check = check_batch, .length = PAGE, .held_back = true, NO_MEMORY },
	{ "SHARE", SHARE(BUDDY_IOC_SHARE, 2 * MIB, 0) },
	{ "SHARE, read-only, with a tail",
	  SHARE(BUDDY_IOC_SHARE, 2 * MIB + PAGE, BUDDY_SHARE_READ_ONLY) },
	{ "BLOCK", .prepare = prepare_share, .run = run_block, .undo = close_made,
	  .length = 3 * PAGE, .may = { EFAULT } },
	{ "close of the last block fd", .prepare = prepare_last, .run = run_close_last,
	  .length = 3 * PAGE, .command = BUDDY_IOC_SHARE },
	{ "DMABUF", SHARE(BUDDY_IOC_DMABUF, 2 * MIB, 0), .held_back = true },
	{ "DMABUF, read-only, with a tail",
	  SHARE(BUDDY_IOC_DMABUF, 2 * MIB + PAGE, BUDDY_SHARE_READ_ONLY) },
	{ "close of the last dma-buf", .prepare = prepare_last, .run = run_close_last,
	  .length = 3 * PAGE, .command = BUDDY_IOC_DMABUF },
	{ "import by a device", .prepare = prepare_dmabuf, .run = run_import,
	  .check = check_import, .undo = undo_import, .length = 5 * MIB + PAGE,
	  NO_MEMORY },
	{ "import of a scattered block", .prepare = prepare_dmabuf, .run = run_import,
	  .check = check_import, .undo = undo_import, .length = 10 * MIB + PAGE,
	  .begin = fence_up_all, .end = fence_down_all, .flags = BUDDY_ALLOC_SCATTER,
	  .held_back = true, NO_MEMORY },
	{ "vmap by a driver", IMPORTED(run_vmap), .check = check_import, NO_MEMORY },
	{ "begin and end of a driver's access", IMPORTED(run_sync),
	  .check = check_import, .may = { EFAULT } },
	{ "DMA_BUF_IOCTL_SYNC", IMPORTED(run_sync_cpu), .check = check_import,
	  .may = { EFAULT } },
	{ "detach", .prepare = prepare_imported, .run = run_detach,
	  .undo = undo_detached, .length = 5 * MIB + PAGE },
	{ "pin", .prepare = prepare_pin, .run = run_pin, .check = check_pin,
	  .undo = undo_pin, .length = 3 * PAGE, NO_MEMORY },
	{ "pin, long-term, with a tail", .prepare = prepare_pin, .run = run_pin,
	  .check = check_pin, .undo = undo_pin, .length = 2 * MIB + PAGE,
	  .flags = PEER_LONGTERM, NO_MEMORY },
};

/* Usage: failnth_test [PART_OF_A_NAME] */
int main(int argc, char **argv)
{
	peer = peer_open();
	return sweep_all(ops, TAP_COUNT(ops), argc > 1 ? argv[1] : "");
}
