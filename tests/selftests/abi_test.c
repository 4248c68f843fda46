// SPDX-License-Identifier: MIT
/*
 * abi_test.c - every wrong ioctl of /dev/buddy, one fault a test, with its exact
 * errno (the meaning of each is in linux/buddy.h), and the good ones beside them.
 *
 * A test begins with a call that is good, valid(), and changes one thing of it: a
 * member, the struct's length or place, or the file. That what it began with is
 * good, the tests of the fixture `command` show. A wrong call leaves the region as
 * it was. Those of mmap() and open() are in map_test.c. Needs root and the module.
 */
#define _GNU_SOURCE
#include <signal.h>
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

/* Handles that a table cannot know; they do not fit the member that they are for. */
#define NEVER_ISSUED	(1ull << 32)
#define FREED		(2ull << 32)
#define FOREIGN		(3ull << 32)

/* What the calls are about, and what they need to be good. */
static struct buddy_alloc mine;
static int other, block, dmabuf;
static uint32_t foreign, freed;
static struct buddy_extent_entry extents[4];
static struct buddy_batch_entry entries[2];

static void world_begin(void)
{
	struct buddy_alloc a;

	other = device_open();
	/* another file numbers alike: one that is not issued here */
	for (int i = 0; i < 100; i++)
		expect_eq(alloc_block(other, PAGE, &a), 0);
	foreign = a.out_handle;
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	freed = a.out_handle;
	expect_eq(free_block(fd, freed), 0);
	expect_eq(alloc_block(fd, PAGES * PAGE, &mine), 0);
	expect(foreign > mine.out_handle + 10);
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
	struct buddy_stats before = get_stats(fd), after;
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

/*
 * Members, one at a time
 */

struct member {
	size_t at, size;
};

#define MEMBER(_command, _member)					\
	{ offsetof(OF_##_command, _member), sizeof(((OF_##_command *)0)->_member) }

static void set(union argument *arg, struct member m, uint64_t value)
{
	if (m.size == 4 && value == NEVER_ISSUED)
		value = 1000;
	if (m.size == 4 && value == FREED)
		value = freed;
	if (m.size == 4 && value == FOREIGN)
		value = foreign;
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
WRONG_BESIDE(ALLOC, align, page_scatter, PAGE, flags, BUDDY_ALLOC_SCATTER, EINVAL);

#define WRONG_HANDLES(_command)						\
	WRONG(_command, handle, 0, 0, ENOENT);				\
	WRONG(_command, handle, max, UINT32_MAX, ENOENT);		\
	WRONG(_command, handle, 2_31, 1u << 31, ENOENT);		\
	WRONG(_command, handle, never_issued, NEVER_ISSUED, ENOENT);	\
	WRONG(_command, handle, freed, FREED, ENOENT);			\
	WRONG(_command, handle, foreign, FOREIGN, ENOENT)

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
WRONG(GROW, length, beyond_its_unit, 3 * MIB, EFBIG);
WRONG(GROW, length, 2_62, 1ull << 62, EFBIG);
WRONG(GROW, length, max, UINT64_MAX, EFBIG);

TEST_F(member, is_wrong)
{
	union argument arg;
	struct buddy_alloc in_front;

	/* the block does not begin its unit: it cannot grow beyond it */
	expect_eq(free_block(fd, mine.out_handle), 0);
	close(block);
	close(dmabuf);
	expect_eq(alloc_block(fd, PAGE, &in_front), 0);
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
BITS(ALLOC, flags, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER);
BITS(ALLOC, reserved, 0);
BITS(STATS, flags, 0);
BITS(EXTENTS, flags, 0);
BITS(SHARE, flags, BUDDY_SHARE_READ_ONLY);
BITS(DMABUF, flags, BUDDY_SHARE_READ_ONLY);
BITS(BLOCK, flags, 0);
BITS(BATCH, flags, 0);
BITS(BATCH, reserved, 0);
BITS(TRIM, flags, 0);
BITS(TRIM, reserved, 0);
BITS(GROW, flags, 0);
BITS(GROW, reserved, 0);

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
 * The struct's length and place, the file: for each command alike
 */

WORLD_FIXTURE(command) {
	unsigned long command;
	int read_only;	/* its errno on a file that is open for reading alone */
	int on_node, on_block;
	bool replies;	/* writes to its struct, when it is good */
};

#define COMMAND(_command, _read_only, _replies)				\
	FIXTURE_VARIANT_ADD(command, _command) {			\
		.command = BUDDY_IOC_##_command,			\
		.read_only = -(_read_only),				\
		.on_node = 0,						\
		.on_block = -ENOTTY,					\
		.replies = _replies,					\
	}

COMMAND(INFO, 0, true);
COMMAND(ALLOC, EBADF, true);
COMMAND(FREE, EBADF, false);
COMMAND(STATS, 0, true);
COMMAND(EXTENTS, 0, true);
COMMAND(SHARE, EBADF, true);
COMMAND(BATCH, EBADF, true);
COMMAND(TRIM, EBADF, false);
COMMAND(GROW, EBADF, false);
COMMAND(DMABUF, EBADF, true);
FIXTURE_VARIANT_ADD(command, BLOCK) {
	.command = BUDDY_IOC_BLOCK,
	.read_only = -ENOTTY,
	.on_node = -ENOTTY,
	.on_block = 0,
	.replies = true,
};

TEST_F(command, good)
{
	union argument arg;
	uint32_t size = valid(variant->command, &arg);

	expect_eq(call(file_of(variant->command), variant->command, &arg), 0);
	expect_eq(arg.info.size, size);
	undo(variant->command, &arg);
}

/* Three pages: two that are there, and one that is not. */
static char *map_edge(void)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	munmap(p + 2 * PAGE, PAGE);
	return p;
}

/* @length bytes of a good argument, right before the page that is not there. */
static char *at_edge(char *edge, unsigned long command, uint32_t length)
{
	union argument arg;
	uint32_t size = valid(command, &arg), room = length < 4 ? 4 : length;
	char *at = edge + 2 * PAGE - room;

	memset(edge, 0, 2 * PAGE);
	memcpy(at, &arg, size < room ? size : room);
	memcpy(at, &length, sizeof(length));
	return at;
}

/* Each of them, byte by byte; and no byte behind the end is read. */
TEST_F(command, each_shorter_struct)
{
	char *edge = map_edge();

	for (uint32_t n = 0; n < _IOC_SIZE(variant->command); n++)
		refused(file_of(variant->command), variant->command,
			at_edge(edge, variant->command, n), -EINVAL);
}

static void taken_with_tail(char *edge, unsigned long command, uint32_t length)
{
	char *at = at_edge(edge, command, length);
	union argument arg;
	uint32_t said;

	expect_eq(call(file_of(command), command, at), 0);
	memcpy(&said, at, sizeof(said));
	expect_eq(said, length);
	memcpy(&arg, at, sizeof(arg) < length ? sizeof(arg) : length);
	undo(command, &arg);
}

/* Of newer headers, up to a page. */
TEST_F(command, longer_with_a_tail_of_zeros)
{
	const uint32_t size = _IOC_SIZE(variant->command);
	char *edge = map_edge();

	for (uint32_t n = size; n < PAGE; n += n < size + 64 ? 1 : 251)
		taken_with_tail(edge, variant->command, n);
	taken_with_tail(edge, variant->command, PAGE);
}

TEST_F(command, longer_with_a_tail_that_is_not)
{
	const uint32_t size = _IOC_SIZE(variant->command), more[] = { 1, 4, 24, 64 };
	char *edge = map_edge();

	for (int i = 0; i < 4; i++) {
		for (uint32_t n = 0; n < more[i]; n++) {
			char *at = at_edge(edge, variant->command, size + more[i]);

			at[size + n] = 1;
			refused(file_of(variant->command), variant->command, at, -E2BIG);
		}
	}
	char *at = at_edge(edge, variant->command, PAGE);

	at[PAGE - 1] = 1;
	refused(file_of(variant->command), variant->command, at, -E2BIG);
}

TEST_F(command, longer_than_a_page)
{
	char *at = at_edge(map_edge(), variant->command, PAGE + 1);

	refused(file_of(variant->command), variant->command, at, -E2BIG);
}

TEST_F(command, size_max)
{
	union argument arg;

	valid(variant->command, &arg);
	arg.info.size = UINT32_MAX;
	refused(file_of(variant->command), variant->command, &arg, -E2BIG);
}

TEST_F(command, null)
{
	refused(file_of(variant->command), variant->command, NULL, -EFAULT);
}

TEST_F(command, address_of_the_kernel)
{
	refused(file_of(variant->command), variant->command,
		(void *)0xffff888000000000, -EFAULT);
}

TEST_F(command, not_mapped)
{
	refused(file_of(variant->command), variant->command, map_edge() + 2 * PAGE,
		-EFAULT);
}

TEST_F(command, size_half_mapped)
{
	char *edge = map_edge();

	refused(file_of(variant->command), variant->command, edge + 2 * PAGE - 2,
		-EFAULT);
}

/* Its size is there; of the rest, all but the last byte. */
TEST_F(command, partly_mapped)
{
	const uint32_t size = _IOC_SIZE(variant->command);
	char *edge = map_edge(), *at;
	union argument arg;

	for (uint32_t n = 4; n < size; n++) {
		valid(variant->command, &arg);
		at = edge + 2 * PAGE - n;
		memcpy(at, &arg, n);
		refused(file_of(variant->command), variant->command, at, -EFAULT);
	}
}

TEST_F(command, not_readable)
{
	char *edge = map_edge(), *at;

	at = at_edge(edge, variant->command, _IOC_SIZE(variant->command));
	expect(!mprotect(edge, 2 * PAGE, PROT_NONE));
	refused(file_of(variant->command), variant->command, at, -EFAULT);
}

/* The reply cannot be written: what was done is undone. Time and again. */
TEST_F(command, not_writable)
{
	char *edge = map_edge(), *at;
	union argument arg;

	at = at_edge(edge, variant->command, _IOC_SIZE(variant->command));
	memcpy(&arg, at, _IOC_SIZE(variant->command));
	expect(!mprotect(edge, 2 * PAGE, PROT_READ));
	if (!variant->replies) {
		expect_eq(call(fd, variant->command, at), 0);
		undo(variant->command, &arg);
		return;
	}
	for (int i = 0; i < 20; i++)
		expect_eq(call(file_of(variant->command), variant->command, at),
			  -EFAULT);
	refused(file_of(variant->command), variant->command, at, -EFAULT);
}

static void on(int file, unsigned long command, int error)
{
	union argument arg;

	expect(file >= 0);
	valid(command, &arg);
	if (error) {
		refused(file, command, &arg, error);
	} else {
		expect_eq(call(file, command, &arg), 0);
		/* a node numbers its own handles */
		if (file != fd && file != block)
			return;
		undo(command, &arg);
	}
}

TEST_F(command, on_a_node_for_reading)
{
	int file = open("/dev/buddy", O_RDONLY);

	on(file, variant->command, variant->read_only);
	close(file);
}

/* It has no handle of ours; what needs none works. */
TEST_F(command, on_a_node_for_writing)
{
	bool by_handle = false;
	int file = open("/dev/buddy", O_WRONLY);
	union argument arg;

	valid(variant->command, &arg);
	switch (variant->command) {
	case BUDDY_IOC_FREE:
	case BUDDY_IOC_SHARE:
	case BUDDY_IOC_DMABUF:
	case BUDDY_IOC_TRIM:
	case BUDDY_IOC_GROW:
		by_handle = true;
	}
	on(file, variant->command, by_handle ? -ENOENT : variant->on_node);
	close(file);
}

TEST_F(command, on_a_file_of_o_path)
{
	int file = open("/dev/buddy", O_RDWR | O_PATH);

	on(file, variant->command, -EBADF);
	close(file);
}

TEST_F(command, on_a_closed_file)
{
	union argument arg;

	valid(variant->command, &arg);
	refused(-1, variant->command, &arg, -EBADF);
}

TEST_F(command, on_the_node)
{
	on(fd, variant->command, variant->on_node);
}

TEST_F(command, on_a_block_fd)
{
	int file = dup(block);

	on(file, variant->command, variant->on_block);
	close(file);
}

TEST_F(command, on_a_dma_buf)
{
	int file = dup(dmabuf);

	on(file, variant->command, -ENOTTY);
	close(file);
}

/* The size and the direction in a command are those of another header's struct. */
TEST_F(command, by_type_and_number_alone)
{
	union argument arg;

	for (unsigned int direction = 0; direction < 4; direction++) {
		for (unsigned int size = 0; size < 1 << 14; size += 4093) {
			unsigned long command = _IOC(direction, BUDDY_IOC_TYPE,
						     _IOC_NR(variant->command), size);

			valid(variant->command, &arg);
			expect_eq(call(file_of(variant->command), command, &arg), 0);
			undo(variant->command, &arg);
		}
	}
}

WORLD_FIXTURE(number) {
	int *file;
	bool known[256];
};

FIXTURE_VARIANT_ADD(number, node) {
	.file = &fd,
	.known = { [0x80 ... 0x85] = true, [0x87 ... 0x8a] = true },
};
FIXTURE_VARIANT_ADD(number, block_fd) {
	.file = &block,
	.known = { [0x86] = true },
};
FIXTURE_VARIANT_ADD(number, dma_buf) {
	.file = &dmabuf,
};

TEST_F(number, unknown_is_refused)
{
	static const unsigned int types[] = { 0, BUDDY_IOC_TYPE - 1, BUDDY_IOC_TYPE + 1, 255 };
	char arg[4096] = { 0 };

	for (unsigned int nr = 0; nr < 256; nr++)
		if (!variant->known[nr])
			refused(*variant->file, _IOC(3, BUDDY_IOC_TYPE, nr, 64), arg,
				-ENOTTY);
	for (int i = 0; i < 4; i++)
		for (unsigned int nr = 0x80; nr <= 0x8a; nr++)
			refused(*variant->file, _IOC(3, types[i], nr, 64), arg, -ENOTTY);
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
	expect_eq(a.out_free, 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	return a;
}

TEST_F(device, alloc)
{
	struct buddy_alloc a = alloc_as(3 * PAGE, 0, 0);

	expect_eq(a.out_length, 3 * PAGE);
	expect_eq(a.out_offset % (4 * PAGE), 0);
	expect_eq(alloc_as(3 * PAGE, 0, BUDDY_ALLOC_POW2).out_length, 4 * PAGE);
	a = alloc_as(1, MIB, 0);
	expect_eq(a.out_length, PAGE);
	expect_eq(a.out_offset % MIB, 0);
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

TEST_F(device, handles_are_not_issued_again_at_once)
{
	struct buddy_alloc a, b;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	expect_eq(alloc_block(fd, PAGE, &b), 0);
	expect(b.out_handle != a.out_handle);
	expect_eq(free_block(fd, a.out_handle), -ENOENT);
	expect_eq(free_block(fd, b.out_handle), 0);
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
