// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_core.c - the binary buddy tree. Its contract is in buddy_core.h.
 *
 * Owns: struct buddy_core and its metadata array.
 *
 * Invariants (buddy_core_check() verifies each)
 *   - every granule lies in exactly one free node or one used node;
 *   - two buddies are never both free;
 *   - a free node is in the slot of its order or in the map, never in both;
 *   - slot[k] is below all nodes of map[k], whether it holds a free node or
 *     (slot_mask) the offset of the last one it held;
 *   - masks, summaries and counters say what slots and maps hold.
 *
 * Why a slot beside the bitmap: splitting a node of order K down to order k
 * leaves one free node on each order k .. K-1, and every one of these orders
 * was empty (else it would have served the request). So a split only fills
 * slots, a store an order, and the merge that undoes it only empties them;
 * bitmaps are touched where an order has two or more free nodes. And a node
 * freed below all others of its order is the next to be taken: it stays in the
 * slot, so a stack of blocks never searches a bitmap either.
 *
 * The strictly lowest placement keeps most memory usable under overload; the
 * idea of one lowest candidate an order in a hot header, and the measurements
 * behind both, are in module/README.md.
 */
#include "buddy_nodes.h"

/* The order of the smallest node that holds @size granules; @size > 0. */
static inline u32 order_of(u32 size)
{
	return buddy_log2(2 * (u64)size - 1);
}

/* A power of two, not 0. */
static inline bool is_single_node(u32 size)
{
	return (size ^ (size - 1)) > size - 1;
}

/*
 * Ranges
 */

/* The order of the largest node that starts at @offset and ends by @end. */
static u32 largest_node(u32 offset, u32 end)
{
	u32 order = buddy_log2(end - offset);

	if (offset && buddy_ctz32(offset) < order)
		order = buddy_ctz32(offset);
	return order;
}

static bool range_is_free(const struct buddy_core *core, u32 offset, u32 end)
{
	u32 order;

	for (; offset < end; offset += 1u << order) {
		u32 found = free_node_at(core, offset);

		if (found == BUDDY_CORE_ORDERS)
			return false;
		order = largest_node(offset, end);
		/* A free node below the wanted one: the buddy of it is used. */
		if (found < order)
			return false;
	}
	return true;
}

/* Takes the node (order, offset) out of the free node that holds it. */
static void node_carve(struct buddy_core *core, u32 order, u32 offset)
{
	u32 from = free_node_at(core, offset);

	node_claim(core, from, 1u << from, offset >> from << from);
	while (from-- > order)
		node_insert(core, from, (offset >> from ^ 1) << from);
}

static void range_take(struct buddy_core *core, u32 offset, u32 end)
{
	u32 order;

	for (; offset < end; offset += 1u << order) {
		order = largest_node(offset, end);
		node_carve(core, order, offset);
	}
}

/*
 * Allocation
 */

static inline void account_taken(struct buddy_core *core, u32 size)
{
	core->free -= size;
	if (core->free < core->low_water)
		core->low_water = core->free;
}

/*
 * Splitting takes the lowest free node of order @from down to @order and keeps
 * its first part. No order between had a free node, or that would have been
 * taken: the right halves fill these slots.
 */
static inline void split_slot(struct buddy_core *core, u32 order)
{
	/* Bit @from goes, the bits order .. from-1 come: a borrow. */
	core->slot_mask -= 1u << order;
}

static inline void split_map(struct buddy_core *core, u32 order, u32 from)
{
	core->slot[from] = map_take(core, from);
	core->slot_mask |= (1u << from) - (1u << order);
}

static inline u32 split_fill(struct buddy_core *core, u32 order, u32 from)
{
	u32 offset = core->slot[from];

	for (u32 k = order, unit = 1u << order; k < from; k++, unit <<= 1)
		core->slot[k] = offset + unit;
	return offset;
}

static inline void node_mark(struct buddy_core *core, u32 order, u32 offset)
{
	word_of(core, order, offset)->used |= bit_of(order, offset);
}

static inline void node_unmark(struct buddy_core *core, u32 order, u32 offset)
{
	struct buddy_word *word = word_of(core, order, offset);

	word->used &= ~bit_of(order, offset);
	word->free &= ~bit_of(order, offset);
}

/* Marks the nodes of a block as used; all but the last one go on. */
static void block_mark(struct buddy_core *core, u32 offset, u32 end)
{
	u32 order = largest_node(offset, end);

	core->cut += offset + (1u << order) != end;
	while (offset + (1u << order) != end) {
		node_mark(core, order, offset);
		word_of(core, order, offset)->free |= bit_of(order, offset);
		offset += 1u << order;
		order = largest_node(offset, end);
	}
	node_mark(core, order, offset);
}

/* Sizes that are no power of two, and explicit alignments. */
static noinline long alloc_cut(struct buddy_core *core, u32 size, u32 align)
{
	u32 order, from, fits, offset, end;

	if (!size || (align & (align - 1)))
		return -EINVAL;
	if (size > core->granules) {
		core->fails++;
		return -ENOMEM;
	}
	order = order_of(size > align ? size : align);
	fits = (core->slot_mask | core->map_mask) >> order;
	if (fits) {
		from = order + buddy_ctz32(fits);
		if (core->slot_mask >> from & 1)
			split_slot(core, order);
		else
			split_map(core, order, from);
		offset = split_fill(core, order, from);
		end = offset + (1u << order);
	} else if (!(core->granules >> order) && range_is_free(core, 0, size)) {
		/* The node would start at 0 and end beyond the tree. */
		range_take(core, 0, size);
		offset = 0;
		end = size;
	} else {
		core->fails++;
		return -ENOMEM;
	}
	/* The tail's nodes are right halves of used ones: nothing to merge. */
	for (u32 at = offset + size; at < end;) {
		u32 k = buddy_ctz32(at);

		node_insert(core, k, at);
		at += 1u << k;
	}
	block_mark(core, offset, offset + size);
	account_taken(core, size);
	core->allocs++;
	return offset;
}

static inline long alloc_node(struct buddy_core *core, u32 order, u32 from)
{
	u32 offset = split_fill(core, order, from);

	node_mark(core, order, offset);
	account_taken(core, 1u << order);
	core->allocs++;
	return offset;
}

/* Apart, so that the usual case needs few registers. */
static noinline long alloc_node_from_map(struct buddy_core *core, u32 order,
					 u32 from)
{
	split_map(core, order, from);
	return alloc_node(core, order, from);
}

long buddy_core_alloc(struct buddy_core *core, u32 size, u32 align)
{
	u32 order, from, fits;

	buddy_assert_owned(core);
	if (unlikely(align || !is_single_node(size)))
		return alloc_cut(core, size, align);
	order = buddy_ctz32(size);
	fits = (core->slot_mask | core->map_mask) >> order;
	if (unlikely(!fits)) {
		core->fails++;
		return -ENOMEM;
	}
	from = order + buddy_ctz32(fits);
	if (unlikely(!(core->slot_mask >> from & 1)))
		return alloc_node_from_map(core, order, from);
	split_slot(core, order);
	return alloc_node(core, order, from);
}

/*
 * Free
 */

/* Frees the node (order, at) and merges it upwards. */
static inline void node_free(struct buddy_core *core, u32 order, u32 at)
{
	u32 unit = 1u << order;

	while (node_claim(core, order, unit, at ^ unit)) {
		at &= ~unit;
		unit <<= 1;
		order++;
	}
	node_insert(core, order, at);
}

/* Is exactly this range a block? @size is not 0. */
static bool block_exists(const struct buddy_core *core, u32 offset, u32 size)
{
	u32 end = offset + size, order;

	if (offset >= core->granules || size > core->granules - offset ||
	    predecessor(core, offset) != BUDDY_CORE_ORDERS)
		return false;
	for (;; offset += 1u << order) {
		order = largest_node(offset, end);
		if (offset + (1u << order) == end)
			break;
		if (!node_goes_on(core, order, offset))
			return false;
	}
	return node_is_used(core, order, offset) &&
	       !node_goes_on(core, order, offset);
}

/* The order of the largest node that ends at @end and starts from @offset on. */
static u32 last_node(u32 offset, u32 end)
{
	u32 order = buddy_log2(end - offset);

	return buddy_ctz32(end) < order ? buddy_ctz32(end) : order;
}

static void block_unmark(struct buddy_core *core, u32 offset, u32 end)
{
	u32 order = largest_node(offset, end);

	core->cut -= offset + (1u << order) != end;
	for (; offset < end; offset += 1u << order) {
		order = largest_node(offset, end);
		node_unmark(core, order, offset);
	}
}

/*
 * Frees the last node of a block offset .. end and merges it upwards, with nodes
 * of the block that precede it, too. Return: the end of what is left.
 */
static inline u32 last_node_free(struct buddy_core *core, u32 offset, u32 end)
{
	u32 order = last_node(offset, end);
	u32 unit = 1u << order, at = end - unit;

	node_unmark(core, order, at);
	end = at;
	for (;;) {
		if (at & unit && end == at && at > offset &&
		    last_node(offset, end) == order) {
			end -= unit;
			node_unmark(core, order, end);
		} else if (!node_claim(core, order, unit, at ^ unit)) {
			break;
		}
		at &= ~unit;
		unit <<= 1;
		order++;
	}
	node_insert(core, order, at);
	return end;
}

static noinline int free_cut(struct buddy_core *core, u32 offset, u32 size)
{
	u32 end = offset + size;

	if (!size || !block_exists(core, offset, size)) {
		core->bad_frees++;
		return -EINVAL;
	}
	core->cut -= 1u << last_node(offset, end) != size;
	while (end > offset)
		end = last_node_free(core, offset, end);
	core->free += size;
	core->frees++;
	return 0;
}

/* Apart, so that a free that merges nothing needs few registers. */
static noinline int free_merged(struct buddy_core *core, u32 order, u32 offset)
{
	node_free(core, order, offset);
	return 0;
}

int buddy_core_free(struct buddy_core *core, u32 offset, u32 size)
{
	struct buddy_word *word;
	u32 order, buddy = offset ^ size;

	buddy_assert_owned(core);
	if (unlikely(!is_single_node(size) || offset & (size - 1)))
		return free_cut(core, offset, size);
	order = buddy_ctz32(size);
	if (unlikely(offset >= core->granules))
		goto bad;
	word = word_of(core, order, offset);
	if (unlikely(!bit_test(word->used & ~word->free, order, offset)))
		goto bad;
	/* Not the last node of a larger block? */
	if (core->cut && predecessor(core, offset) != BUDDY_CORE_ORDERS)
		goto bad;
	word->used &= ~bit_of(order, offset);
	core->free += size;
	core->frees++;
	/* The first level apart: often nothing merges, and the word is at hand. */
	if (core->slot[order] == buddy && core->slot_mask & size) {
		core->slot_mask ^= size;
	} else if (bit_test(free_bits(word), order, buddy)) {
		map_clear(core, order, buddy, word);
	} else {
		node_insert(core, order, offset);
		return 0;
	}
	return free_merged(core, order + 1, offset & buddy);
bad:
	core->bad_frees++;
	return -EINVAL;
}

int buddy_core_divide(struct buddy_core *core, u32 offset, u32 size, u32 first)
{
	buddy_assert_owned(core);
	if (!first || first >= size || !block_exists(core, offset, size))
		return -EINVAL;
	block_unmark(core, offset, offset + size);
	block_mark(core, offset, offset + first);
	block_mark(core, offset + first, offset + size);
	core->allocs++;
	return 0;
}

int buddy_core_join(struct buddy_core *core, u32 offset, u32 first, u32 second)
{
	buddy_assert_owned(core);
	if (!first || !second || !block_exists(core, offset, first) ||
	    !block_exists(core, offset + first, second))
		return -EINVAL;
	block_unmark(core, offset, offset + first);
	block_unmark(core, offset + first, offset + first + second);
	block_mark(core, offset, offset + first + second);
	core->frees++;
	return 0;
}

int buddy_core_take(struct buddy_core *core, u32 offset, u32 size)
{
	buddy_assert_owned(core);
	if (!size || offset >= core->granules || size > core->granules - offset)
		return -EINVAL;
	if (!range_is_free(core, offset, offset + size))
		return -EBUSY;
	range_take(core, offset, offset + size);
	block_mark(core, offset, offset + size);
	account_taken(core, size);
	core->allocs++;
	return 0;
}

/*
 * The metadata array: the words of all orders, then their summaries.
 */

static inline size_t nr_words(u64 bits)
{
	return (bits + 63) / 64;
}

/*
 * Points @maps into the array at address @mem; with NULL @maps only measures.
 * Return: bytes.
 */
static size_t layout(struct buddy_map *maps, u32 granules, uintptr_t mem)
{
	size_t at = 0;

	/*
	 * Also the node that the tree's end cuts, and the orders above the
	 * tree: any offset in the tree then has a bit on every order.
	 */
	for (u32 order = 0; order < BUDDY_CORE_ORDERS; order++) {
		struct buddy_map measured;
		struct buddy_map *map = maps ? &maps[order] : &measured;
		size_t words = nr_words(((granules - 1) >> order) + 1);

		map->word = (struct buddy_word *)(mem + at);
		at += words * sizeof(struct buddy_word);
		for (map->levels = 0; words > 1; map->levels++) {
			words = nr_words(words);
			map->sum[map->levels] = (u64 *)(mem + at);
			/* an even number keeps the next words at 16 bytes */
			at += (words + words % 2) * sizeof(u64);
		}
	}
	return at;
}

size_t buddy_core_bytes(u32 granules)
{
	if (!granules || granules > BUDDY_CORE_MAX_GRANULES)
		return 0;
	return layout(NULL, granules, 0);
}

int buddy_core_init(struct buddy_core *core, u32 granules, void *mem)
{
	if (!granules || granules > BUDDY_CORE_MAX_GRANULES)
		return -EINVAL;
	memset(core, 0, sizeof(*core));
	memset(mem, 0, layout(core->map, granules, (uintptr_t)mem));
	core->granules = granules;
	core->free = granules;
	core->low_water = granules;
	for (u32 rest = granules; rest; rest &= rest - 1)
		node_insert(core, buddy_ctz32(rest), rest & (rest - 1));
	return 0;
}
