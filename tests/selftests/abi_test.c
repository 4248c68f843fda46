// SPDX-License-Identifier: MIT
/*
 * abi_test.c - what the members of an ioctl of /dev/buddy say: every wrong value, one
 * a test, with its exact errno (the meaning of each is in linux/buddy.h), and the good
 * ones beside them.
 *
 * A test begins with a call that is good (abi_world.h) and changes one member of it.
 * Where the struct lies, how long it is and which file the call is made on, is in
 * argument_test.c; mmap() and open() in map_test.c. Needs root and the module.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "abi_world.h"

/* The struct of each command */
#define OF_INFO		struct buddy_info
#define OF_ALLOC	struct buddy_alloc
#define OF_FREE		struct buddy_free
#define OF_STATS	struct buddy_stats
#define OF_EXTENTS	struct buddy_extents
#define OF_SHARE	struct buddy_share
#define OF_BLOCK	struct buddy_block_info
#define OF_BATCH	struct buddy_batch
#define OF_TRIM		struct buddy_resize
#define OF_GROW		struct buddy_resize
#define OF_DMABUF	struct buddy_share

/* Handles that a table of constants cannot have. */
#define HANDLE_LIKE(_n)	(0xbad0ull << 48 | (_n))
#define FREED		HANDLE_LIKE(0)	/* its place has another block now */
#define FOREIGN		HANDLE_LIKE(1)	/* of another open file */
#define OF_NO_PLACE	HANDLE_LIKE(2)	/* beyond the table */
#define OF_FREE_PLACE	HANDLE_LIKE(3)
#define LATER		HANDLE_LIKE(4)	/* the next one of the block's place */
#define HIGH_BIT	HANDLE_LIKE(5)	/* the block's, and one bit more */
#define LOW_HALF	HANDLE_LIKE(6)	/* of the block's */
#define HIGH_HALF	HANDLE_LIKE(7)

static uint64_t handle_like(uint64_t value)
{
	uint64_t handle = mine.out_handle;

	switch (value) {
	case FREED: return freed;
	case FOREIGN: return foreign;
	case OF_NO_PLACE: return handle + 1000000;
	case OF_FREE_PLACE: return handle + 100;
	case LATER: return handle + (1ull << 32);
	case HIGH_BIT: return handle | 1ull << 63;
	case LOW_HALF: return handle & UINT32_MAX;
	case HIGH_HALF: return handle & ~(uint64_t)UINT32_MAX;
	default: return value;
	}
}

struct member {
	size_t at, size;
};

#define MEMBER(_command, _member)					\
	{ offsetof(OF_##_command, _member), sizeof(((OF_##_command *)0)->_member) }

static void set(union argument *arg, struct member m, uint64_t value)
{
	value = handle_like(value);
	memcpy((char *)arg + m.at, &value, m.size);
}

WORLD_FIXTURE(member) {
	unsigned long command;
	struct {
		struct member member;
		uint64_t value;
	} wrong, beside;
	int error;
};

#define WRONG(_command, _member, _what, _value, _error)			\
	FIXTURE_VARIANT_ADD(member, _command##_##_member##_##_what) {	\
		.command = BUDDY_IOC_##_command,			\
		.wrong = { MEMBER(_command, _member), _value },		\
		.error = -(_error),					\
	}

/* Where another member has to have a value of its own for it. */
#define WRONG_BESIDE(_command, _member, _what, _value, _beside, _its, _error)	\
	FIXTURE_VARIANT_ADD(member, _command##_##_member##_##_what) {	\
		.command = BUDDY_IOC_##_command,			\
		.wrong = { MEMBER(_command, _member), _value },		\
		.beside = { MEMBER(_command, _beside), _its },		\
		.error = -(_error),					\
	}

WRONG(ALLOC, length, 0, 0, EINVAL);
WRONG(ALLOC, length, 2_62, 1ull << 62, EFBIG);
WRONG(ALLOC, length, 2_63, 1ull << 63, EFBIG);
WRONG(ALLOC, length, max_less_a_page, UINT64_MAX - PAGE, EFBIG);
WRONG(ALLOC, length, last_page, UINT64_MAX - PAGE + 1, EFBIG);
WRONG(ALLOC, length, max_less_1, UINT64_MAX - 1, EFBIG);
WRONG(ALLOC, length, max, UINT64_MAX, EFBIG);
#define WRONG_POW2(_what, _value)					\
	WRONG_BESIDE(ALLOC, length, _what, _value, flags, BUDDY_ALLOC_POW2, EFBIG)
WRONG_POW2(2_62_pow2, 1ull << 62);
WRONG_POW2(2_63_pow2, 1ull << 63);
WRONG_POW2(max_less_a_page_pow2, UINT64_MAX - PAGE);
WRONG_POW2(last_page_pow2, UINT64_MAX - PAGE + 1);
WRONG_POW2(max_less_1_pow2, UINT64_MAX - 1);
WRONG_POW2(max_pow2, UINT64_MAX);
WRONG_BESIDE(ALLOC, length, max_scatter, UINT64_MAX, flags, BUDDY_ALLOC_SCATTER, EFBIG);
WRONG_BESIDE(ALLOC, length, 0_scatter, 0, flags, BUDDY_ALLOC_SCATTER, EINVAL);
WRONG_BESIDE(ALLOC, length, 0_pow2, 0, flags, BUDDY_ALLOC_POW2, EINVAL);
WRONG(ALLOC, align, 3, 3, EINVAL);
WRONG(ALLOC, align, page_and_1, PAGE + 1, EINVAL);
WRONG(ALLOC, align, three_pages, 3 * PAGE, EINVAL);
WRONG(ALLOC, align, 2_gib, 2ull << 30, EINVAL);
WRONG(ALLOC, align, 2_32, 1ull << 32, EINVAL);
WRONG(ALLOC, align, 2_63, 1ull << 63, EINVAL);
WRONG(ALLOC, align, max, UINT64_MAX, EINVAL);
WRONG(ALLOC, flags, pow2_and_scatter, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER, EINVAL);
WRONG(ALLOC, flags, all, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE, EINVAL);
WRONG_BESIDE(ALLOC, length, max_alone, UINT64_MAX, flags, BUDDY_ALLOC_ALONE, EFBIG);
WRONG_BESIDE(ALLOC, length, 0_alone, 0, flags, BUDDY_ALLOC_ALONE, EINVAL);
WRONG_BESIDE(ALLOC, align, 3_alone, 3, flags, BUDDY_ALLOC_ALONE, EINVAL);
WRONG_BESIDE(ALLOC, align, page_scatter, PAGE, flags, BUDDY_ALLOC_SCATTER, EINVAL);

#define WRONG_HANDLES(_command)						\
	WRONG(_command, handle, 0, 0, ENOENT);				\
	WRONG(_command, handle, max, UINT64_MAX, ENOENT);		\
	WRONG(_command, handle, max_of_32_bits, UINT32_MAX, ENOENT);	\
	WRONG(_command, handle, freed, FREED, ENOENT);			\
	WRONG(_command, handle, foreign, FOREIGN, ENOENT);		\
	WRONG(_command, handle, of_no_place, OF_NO_PLACE, ENOENT);	\
	WRONG(_command, handle, of_a_free_place, OF_FREE_PLACE, ENOENT); \
	WRONG(_command, handle, later, LATER, ENOENT);			\
	WRONG(_command, handle, high_bit, HIGH_BIT, ENOENT);		\
	WRONG(_command, handle, low_half, LOW_HALF, ENOENT);		\
	WRONG(_command, handle, high_half, HIGH_HALF, ENOENT)

WRONG_HANDLES(FREE);
WRONG_HANDLES(SHARE);
WRONG_HANDLES(DMABUF);
WRONG_HANDLES(TRIM);
WRONG_HANDLES(GROW);

WRONG(EXTENTS, count, 0, 0, EINVAL);
WRONG(EXTENTS, entries, null, 0, EFAULT);
WRONG(EXTENTS, entries, 8, 8, EFAULT);
WRONG(EXTENTS, entries, end_of_memory, UINT64_MAX - 8, EFAULT);
WRONG(EXTENTS, entries, kernel, 0xffff888000000000, EFAULT);

WRONG(BATCH, count, 0, 0, EINVAL);
WRONG(BATCH, count, above_max, BUDDY_BATCH_MAX + 1, EINVAL);
WRONG(BATCH, count, max, UINT32_MAX, EINVAL);
WRONG(BATCH, entry_size, 0, 0, EINVAL);
WRONG(BATCH, entry_size, short_by_1, sizeof(struct buddy_batch_entry) - 1, EINVAL);
WRONG(BATCH, entry_size, above_a_page, PAGE + 1, EINVAL);
WRONG(BATCH, entry_size, max, UINT32_MAX, EINVAL);
WRONG(BATCH, entries, null, 0, EFAULT);
WRONG(BATCH, entries, end_of_memory, UINT64_MAX - 100, EFAULT);
WRONG(BATCH, entries, kernel, 0xffff888000000000, EFAULT);

WRONG(TRIM, length, 0, 0, EINVAL);
WRONG(TRIM, length, longer_than_it_is, PAGES * PAGE + 1, EINVAL);
WRONG(TRIM, length, 2_62, 1ull << 62, EFBIG);
WRONG(TRIM, length, max, UINT64_MAX, EFBIG);
WRONG(GROW, length, 0, 0, EINVAL);
WRONG(GROW, length, shorter_than_it_is, (PAGES - 1) * PAGE, EINVAL);
WRONG(GROW, length, 2_62, 1ull << 62, EFBIG);
WRONG(GROW, length, max, UINT64_MAX, EFBIG);

TEST_F(member, is_wrong)
{
	union argument arg;
	struct buddy_alloc first;

	/* nothing but its handle refers to the block, whose slot is not the first one */
	expect_eq(free_block(fd, mine.out_handle), 0);
	close(block);
	close(dmabuf);
	expect_eq(alloc_block(fd, PAGE, &first), 0);
	expect_eq(alloc_block(fd, PAGES * PAGE, &mine), 0);
	block = dmabuf = -1;
	valid(variant->command, &arg);
	set(&arg, variant->wrong.member, variant->wrong.value);
	if (variant->beside.member.size)
		set(&arg, variant->beside.member, variant->beside.value);
	refused(fd, variant->command, &arg, variant->error);
}

/* Every unknown flag, and every bit of what is reserved. */
WORLD_FIXTURE(bits) {
	unsigned long command;
	struct member member;
	uint32_t known;
};

#define BITS(_command, _member, _known)					\
	FIXTURE_VARIANT_ADD(bits, _command##_##_member) {		\
		.command = BUDDY_IOC_##_command,			\
		.member = MEMBER(_command, _member),			\
		.known = _known,					\
	}

BITS(INFO, flags, 0);
BITS(INFO, reserved, 0);
BITS(ALLOC, flags, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE);
BITS(FREE, flags, 0);
BITS(STATS, flags, 0);
BITS(EXTENTS, flags, 0);
BITS(SHARE, flags, BUDDY_SHARE_READ_ONLY);
BITS(SHARE, reserved, 0);
BITS(DMABUF, flags, BUDDY_SHARE_READ_ONLY);
BITS(DMABUF, reserved, 0);
BITS(BLOCK, flags, 0);
BITS(BATCH, flags, 0);
BITS(BATCH, reserved, 0);
BITS(TRIM, flags, 0);
BITS(GROW, flags, 0);

TEST_F(bits, unknown_are_refused)
{
	union argument arg;

	for (int bit = 0; bit < 32; bit++) {
		if (variant->known & 1u << bit)
			continue;
		valid(variant->command, &arg);
		set(&arg, variant->member, 1u << bit);
		refused(file_of(variant->command), variant->command, &arg, -EINVAL);
	}
}

TEST_F(bits, known_are_taken)
{
	union argument arg;

	for (int bit = 0; bit < 32; bit++) {
		if (!(variant->known & 1u << bit))
			continue;
		valid(variant->command, &arg);
		set(&arg, variant->member, 1u << bit);
		expect_eq(call(fd, variant->command, &arg), 0);
		undo(variant->command, &arg);
	}
}

/*
 * Good calls
 */

TEST_F(device, info)
{
	struct buddy_info i = { .size = sizeof(i) };

	expect_eq(call(fd, BUDDY_IOC_INFO, &i), 0);
	expect_eq(i.size, sizeof(i));
	expect_eq(i.out_abi_version, BUDDY_ABI_VERSION);
	expect_eq(i.out_granule, PAGE);
	expect_eq(i.out_region, region);
	expect(i.out_region >= 2 * MIB && i.out_region % (2 * MIB) == 0);
	expect(i.out_base_align >= 2 * MIB);
	expect_eq(i.out_max_align, 1 << 30);
	expect(i.out_features & BUDDY_FEATURE_CONTIGUOUS);
}

/* Of version 1: INFO answers as it did, so that its programs see that the module is newer. */
struct info_1 {
	uint32_t size, flags, out_abi_version, out_granule;
	uint64_t out_region, out_max_align, out_base_align, out_features;
	int32_t out_node;
	uint32_t reserved;
};

/* The others had handles of 32 bits. */
struct free_1 { uint32_t size, handle; };
struct share_1 { uint32_t size, flags, handle; int32_t out_fd; };
struct resize_1 { uint32_t size, handle, flags, reserved; uint64_t length; };
struct alloc_1 {
	uint32_t size, flags;
	uint64_t length, align, out_length, out_offset;
	uint32_t out_handle, reserved;
	uint64_t out_free, out_largest, out_returning;
};
struct batch_1 {
	uint32_t size, flags;
	uint64_t entries;
	uint32_t count, entry_size, out_done, reserved;
	uint64_t out_free, out_largest, out_returning;
};

TEST_F(device, programs_of_abi_1)
{
	struct info_1 info = { .size = sizeof(info) };
	struct buddy_alloc a;
	struct free_1 f = { .size = sizeof(f) };
	struct share_1 s = { .size = sizeof(s) };
	struct resize_1 r = { .size = sizeof(r), .length = PAGE };
	struct alloc_1 o = { .size = sizeof(o), .length = PAGE };
	struct batch_1 b = {
		.size = sizeof(b), .entries = (uintptr_t)entries, .count = 1,
		.entry_size = sizeof(entries[0]),
	};

	expect_eq(sizeof(info), 56);
	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	expect_eq(info.out_abi_version, BUDDY_ABI_VERSION);
	expect_eq(info.out_granule, PAGE);
	expect_eq(info.out_region, region);
	/* what does not ask first gets an error, and no other block */
	expect_eq(alloc_block(fd, 2 * PAGE, &a), 0);
	f.handle = s.handle = r.handle = (uint32_t)a.out_handle ?: 1;
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x81, struct alloc_1), &o), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x82, struct free_1), &f), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x87, struct batch_1), &b), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x85, struct share_1), &s), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x8a, struct share_1), &s), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x88, struct resize_1), &r), -EINVAL);
	expect_eq(call(fd, _IOWR(BUDDY_IOC_TYPE, 0x89, struct resize_1), &r), -EINVAL);
	expect_eq(get_stats(fd).out_used, 2 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
}

static struct buddy_alloc alloc_as(uint64_t length, uint64_t align, uint32_t flags)
{
	struct buddy_alloc a = {
		.size = sizeof(a),
		.flags = flags,
		.length = length,
		.align = align,
	};

	expect_eq(call(fd, BUDDY_IOC_ALLOC, &a), 0);
	expect_eq(a.size, sizeof(a));
	expect(a.out_handle != 0);
	expect(a.out_offset != 0);
	expect(is_placed(&a));
	expect_eq(a.out_free, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	return a;
}

TEST_F(device, alloc)
{
	struct buddy_alloc a = alloc_as(3 * PAGE, 0, 0);

	expect_eq(a.out_length, 3 * PAGE);
	expect_eq(alloc_as(3 * PAGE, 0, BUDDY_ALLOC_POW2).out_length, 4 * PAGE);
	a = alloc_as(1, MIB, 0);
	expect_eq(a.out_length, PAGE);
}

TEST_F(device, alloc_up_to_the_region)
{
	struct buddy_alloc a;

	alloc_as(region, 0, 0);
	expect_eq(alloc_block(fd, region + 1, &a), -EFBIG);
	expect_eq(scatter_block(fd, region + 1, &a), -EFBIG);
}

TEST_F(device, alloc_every_alignment)
{
	for (uint64_t align = 1; align <= 1 << 30; align *= 2)
		alloc_as(3 * PAGE, align, 0);
}

/* The place of a block is as promised, with one of every length in the way. */
TEST_F(device, blocks_are_placed_as_promised)
{
	static const uint64_t lengths[] = {
		PAGE, 2 * PAGE, 3 * PAGE, 12 * PAGE, 96 * PAGE, MIB, 2 * MIB - PAGE, 2 * MIB,
		2 * MIB + PAGE, 3 * MIB, 4 * MIB - PAGE, 4 * MIB, 4 * MIB + 2 * PAGE, 6 * MIB,
	};
	const int count = sizeof(lengths) / sizeof(lengths[0]);
	struct buddy_alloc a;

	for (int i = 0; i < count; i++) {
		for (uint64_t align = 0; align <= 8 * MIB; align = align ? 4 * align : PAGE)
			alloc_as(lengths[i], align, 0);
		alloc_as(lengths[i], 0, BUDDY_ALLOC_POW2);
		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		expect(is_placed(&a));
	}
}

static int compare_handles(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

#define ISSUED	100000

/* As a stack: the place that was freed last is taken again. And among live ones. */
TEST_F(device, handles_are_not_issued_twice)
{
	static uint64_t issued[ISSUED];
	uint64_t live[64] = { 0 };
	struct buddy_alloc a;

	for (int i = 0; i < ISSUED; i++) {
		int at = i < ISSUED / 2 ? 0 : i * 7 % 64;

		expect_eq(free_block(fd, live[at]), live[at] ? 0 : -ENOENT);
		expect_eq(free_block(fd, live[at]), -ENOENT);
		expect_eq(alloc_block(fd, PAGE, &a), 0);
		expect(a.out_handle != 0);
		live[at] = issued[i] = a.out_handle;
	}
	qsort(issued, ISSUED, sizeof(*issued), compare_handles);
	for (int i = 1; i < ISSUED && !has_failed(); i++)
		expect(issued[i - 1] != issued[i]);
	for (int i = 0; i < 64; i++)
		expect_eq(free_block(fd, live[i]), 0);
}

TEST_F(device, resize_beyond_the_region)
{
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, region + 1), -EFBIG);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, region + 1), -EFBIG);
	expect_eq(free_block(fd, a.out_handle), 0);
}

TEST_F(device, extents_tile_the_region)
{
	struct buddy_extent_entry e[64];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 64,
	};
	struct buddy_alloc a;
	uint64_t at = 0;
	int found = 0;

	expect_eq(alloc_block(fd, 5 * PAGE, &a), 0);
	for (;;) {
		x.start = at;
		expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
		if (!x.out_count)
			break;
		for (uint32_t i = 0; i < x.out_count; i++) {
			expect_eq(e[i].offset, at);
			at += e[i].length;
			if (e[i].state == BUDDY_EXTENT_USED &&
			    e[i].pid == getpid() && e[i].length == 5 * PAGE)
				found++;
		}
		expect_eq(x.out_next, at);
	}
	expect_eq(at, region);
	expect_eq(found, 1);
	expect_eq(free_block(fd, a.out_handle), 0);
	x.start = UINT64_MAX;
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	expect_eq(x.out_count, 0);
	expect_eq(x.out_next, at);
}

/* Allocates and frees until it is killed, so that free ranges split and merge. */
static pid_t busy_child(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	fd = device_open();
	for (;;) {
		struct buddy_alloc a[16];

		for (int i = 0; i < 16; i++)
			alloc_block(fd, 2 * MIB, &a[i]);
		for (int i = 0; i < 16; i++)
			free_block(fd, a[i].out_handle);
	}
}

/* Each begins where the one before ended, whatever became of that meanwhile. */
TEST_F(device, extents_tile_it_while_blocks_come_and_go)
{
	struct buddy_extent_entry e[64];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = 64,
	};
	pid_t pid = busy_child();

	for (int n = 0; n < 20000 && !has_failed(); n++) {
		uint64_t at = 0;

		expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
		for (uint32_t i = 0; i < x.out_count; i++) {
			expect_eq(e[i].offset, at);
			at = e[i].offset + e[i].length;
		}
		expect_eq(x.out_next, at);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	expect(wait_free(fd, region, 20));
}

TEST_F(device, random_structs)
{
	unsigned char arg[512];
	unsigned int seed = 12345;

	for (int i = 0; i < 200000; i++) {
		for (size_t k = 0; k < sizeof(arg); k++)
			arg[k] = (unsigned char)(rand_r(&seed) >> 8);
		unsigned int size = (unsigned int)rand_r(&seed) % 512;
		unsigned int nr = _IOC_NR(BUDDY_IOC_INFO) +
				  (unsigned int)rand_r(&seed) % 7;

		memcpy(arg, &size, sizeof(size));
		ioctl(fd, _IOC(3, BUDDY_IOC_TYPE, nr, 64), arg);
	}
	close(fd);
	fd = device_open();
	expect(wait_free(fd, get_stats(fd).out_region, 20));
}

TEST_HARNESS_MAIN
