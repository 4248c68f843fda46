// SPDX-License-Identifier: GPL-2.0-only
/*
 * handle_kunit.c - the table of handles of an open file: what it issues, finds and
 * forgets, up to the last generation of a slot.
 */
#include "tap.h"
#include "world.h"

/* The table only stores it: one block stands for all. */
static struct buddy_kblock *block;

static void begin(void)
{
	block = world_alloc(world_file, 1);
	if (IS_ERR(block))
		expect(!"no block");
}

static void end(void)
{
	buddy_kblock_put(block, true);
}

static struct buddy_kblock *find(u64 handle)
{
	struct buddy_kblock *found;

	spin_lock(&world_file->handles.lock);
	found = buddy_handle_find(world_file, handle);
	spin_unlock(&world_file->handles.lock);
	return found;
}

static u64 issue(void)
{
	u64 handle = 0;

	if (buddy_handle_reserve(world_file, &handle))
		return 0;
	buddy_handle_publish(world_file, handle, block);
	return handle;
}

static struct buddy_handle_slot *slot_of(u64 handle)
{
	u32 index = lower_32_bits(handle);
	struct buddy_handle_chunk *chunk =
		xa_load(&world_file->handles.chunks, index / BUDDY_HANDLE_SLOTS);

	return &chunk->slots[index % BUDDY_HANDLE_SLOTS];
}

static u32 chunks(void)
{
	unsigned long number;
	u32 count = 0;
	void *chunk;

	xa_for_each(&world_file->handles.chunks, number, chunk)
		count++;
	return count;
}

static void life_of_a_handle(void)
{
	u64 a = 0, b = 0;

	begin();
	expect_eq(buddy_handle_reserve(world_file, &a), 0);
	expect(a > U32_MAX);
	/* reserved is not there yet */
	expect(!find(a));
	expect(!buddy_handle_get(world_file, a));
	expect(!buddy_handle_free(world_file, a));
	buddy_handle_publish(world_file, a, block);
	expect(find(a) == block);
	expect(buddy_handle_get(world_file, a) == block);
	expect_eq(refcount_read(&block->refs), 2);
	buddy_kblock_put(block, true);
	expect(buddy_handle_free(world_file, a) == block);
	expect(!find(a));
	expect(!buddy_handle_free(world_file, a));
	/* a number that was reserved and not used is not issued again either */
	expect_eq(buddy_handle_reserve(world_file, &b), 0);
	expect(b != a);
	buddy_handle_cancel(world_file, b);
	expect(!find(b));
	a = issue();
	expect(a && a != b);
	expect(buddy_handle_free(world_file, a) == block);
	end();
}

static void wrong_numbers(void)
{
	u64 handle, wrong[10];

	begin();
	expect(buddy_handle_free(world_file, issue()) == block);
	handle = issue();
	wrong[0] = 0;
	wrong[1] = 1;
	wrong[2] = U32_MAX;
	wrong[3] = U64_MAX;
	wrong[4] = handle + 1;
	wrong[5] = handle + BUDDY_HANDLE_SLOTS;
	wrong[6] = handle - (1ull << 32);
	wrong[7] = handle + (1ull << 32);
	wrong[8] = handle | 1ull << 63;
	wrong[9] = lower_32_bits(handle);
	for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
		expect(!find(wrong[i]));
		expect(!buddy_handle_get(world_file, wrong[i]));
		expect(!buddy_handle_free(world_file, wrong[i]));
	}
	expect(buddy_handle_free(world_file, handle) == block);
	end();
}

/* As a stack: the same slot each time. */
static void a_million_pairs(void)
{
	u64 last = 0;

	begin();
	for (u32 i = 0; i < 1000000 && !tap_failures; i++) {
		u64 handle = issue();

		if (handle <= last)
			expect(!"a number was issued twice");
		if (buddy_handle_free(world_file, handle) != block)
			expect(!"a handle is lost");
		last = handle;
		tap_yield();
	}
	expect_eq(upper_32_bits(last), 1000000);
	expect_eq(chunks(), 1);
	end();
}

/* The last generation of a slot is issued, and then the slot no more. */
static void the_last_generation(void)
{
	u64 first, last, other;

	begin();
	first = issue();
	expect(buddy_handle_free(world_file, first) == block);
	slot_of(first)->generation = U32_MAX - 1;
	last = issue();
	expect_eq(last, (u64)(U32_MAX - 1) << 32 | lower_32_bits(first));
	expect(buddy_handle_free(world_file, last) == block);
	last = issue();
	expect_eq(last, (u64)U32_MAX << 32 | lower_32_bits(first));
	expect(buddy_handle_free(world_file, last) == block);
	expect(!find(last));
	expect(!buddy_handle_free(world_file, last));
	for (int i = 0; i < 2 * BUDDY_HANDLE_SLOTS; i++) {
		other = issue();
		expect(other && lower_32_bits(other) != lower_32_bits(first));
	}
	expect(!find(first) && !find(last));
	/* a reservation that ends retires the slot alike */
	expect_eq(buddy_handle_reserve(world_file, &other), 0);
	slot_of(other)->generation = U32_MAX;
	buddy_handle_cancel(world_file, other);
	expect(lower_32_bits(issue()) != lower_32_bits(other));
	/* the handles hold no references here: the table is not to drop any */
	for (u32 i = 0; i < chunks() * BUDDY_HANDLE_SLOTS; i++)
		slot_of(i)->block = NULL;
	end();
}

#define MANY	1000

/* It has room for the most handles at one time, and no more however often. */
static void many_at_a_time(void)
{
	u64 *handles = kunit_kzalloc(tap_test, MANY * sizeof(*handles), GFP_KERNEL);
	struct buddy_kblock *found;
	u32 index = 0, count = 0;

	KUNIT_ASSERT_NOT_NULL(tap_test, handles);
	begin();
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < MANY; i++) {
			handles[i] = issue();
			expect_eq(upper_32_bits(handles[i]), round + 1);
			if (i)
				expect(lower_32_bits(handles[i]) !=
				       lower_32_bits(handles[i - 1]));
		}
		while ((found = buddy_handle_next(world_file, &index))) {
			expect(found == block);
			count++;
		}
		expect_eq(count, MANY);
		index = 0;
		count = 0;
		for (int i = 0; i < MANY; i++)
			expect(buddy_handle_free(world_file, handles[i]) == block);
		expect(!buddy_handle_next(world_file, &index));
		index = 0;
		expect_eq(chunks(), DIV_ROUND_UP(MANY, BUDDY_HANDLE_SLOTS));
	}
	end();
}

static const struct tap_case handle_cases[] = {
	{ "a handle is reserved, published and freed", life_of_a_handle },
	{ "numbers that are no handle", wrong_numbers },
	{ "a million handles of one slot", a_million_pairs },
	{ "the last generation of a slot", the_last_generation },
	{ "many at a time, and the memory that they take", many_at_a_time },
};

WORLD_SUITE(handle);
