// SPDX-License-Identifier: MIT
/*
 * argument_test.c - the argument of an ioctl of /dev/buddy as a whole: the struct's
 * length and place, the file, the command's number; for each command alike, one fault
 * a test, with its exact errno. That the call is good without the fault, the test
 * `good` shows. Needs root and the module.
 */
#define _GNU_SOURCE

#include "abi_world.h"

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

TEST_HARNESS_MAIN
