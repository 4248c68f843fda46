// SPDX-License-Identifier: MIT
/*
 * map_test.c - every wrong mmap() of the node and of a block fd, and every way to
 * open the node, one fault a test, with its exact errno; and good ones beside them.
 * A wrong call leaves the region as it was. Needs root and the module.
 */
#define _GNU_SOURCE
#include <grp.h>

#include "ktest.h"

#define RW	(PROT_READ | PROT_WRITE)
#define RX	(PROT_READ | PROT_EXEC)

/* The block that is mapped, in pages; and one that follows it */
#define PAGES	4

enum file { NODE, READING, WRITING, ANOTHER, FREED, BLOCK, BLOCK_READING };

static int map(int file, size_t length, int prot, int flags, uint64_t offset)
{
	void *p = mmap(NULL, length, prot, flags, file, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

static int open_as(enum file kind, const struct buddy_alloc *a)
{
	switch (kind) {
	case READING:
		return open("/dev/buddy", O_RDONLY);
	case WRITING:
		return open("/dev/buddy", O_WRONLY);
	case ANOTHER:
		return device_open();
	case BLOCK:
		return share_block(fd, BUDDY_IOC_SHARE, a->out_handle, 0);
	case BLOCK_READING:
		return share_block(fd, BUDDY_IOC_SHARE, a->out_handle,
				   BUDDY_SHARE_READ_ONLY);
	default:
		return dup(fd);
	}
}

DEVICE_FIXTURE(map) {
	enum file file;
	uint64_t length;	/* bytes; 0: PAGES */
	uint64_t from;		/* bytes from the start of the block */
	uint64_t at;		/* or this offset itself */
	bool absolute;
	int prot, flags;
	int error, or_error;
};

/* The rest of a good call, of which the variant changes one thing. */
#define MAP(_name, _error, ...)						\
	FIXTURE_VARIANT_ADD(map, _name) { .error = -(_error), __VA_ARGS__ }

/* What a 32-bit program cannot ask for: mmap2() has 32 bits of length, 44 of offset. */
#if __SIZEOF_LONG__ == 8
#define MAP_64	MAP
#else
#define MAP_64(...)
#endif

MAP(whole, 0);
MAP(first_page, 0, .length = PAGE);
MAP(last_page, 0, .length = PAGE, .from = 3 * PAGE);
MAP(middle, 0, .length = 2 * PAGE, .from = PAGE);
MAP(length_no_multiple_of_pages, 0, .length = 4 * PAGE - 1);
MAP(readable, 0, .prot = PROT_READ);
MAP(writable_alone, 0, .prot = PROT_WRITE);
MAP(private, EINVAL, .flags = MAP_PRIVATE);
MAP(private_readable, EINVAL, .flags = MAP_PRIVATE, .prot = PROT_READ);
MAP(neither_shared_nor_private, EINVAL, .flags = MAP_NORESERVE);
MAP(validate_unknown_flag, EOPNOTSUPP, .flags = MAP_SHARED_VALIDATE | 1 << 24);
MAP(validate_sync, EOPNOTSUPP, .flags = MAP_SHARED_VALIDATE | MAP_SYNC);
MAP(executable, EACCES, .prot = RW | PROT_EXEC);
MAP(executable_alone, EACCES, .prot = PROT_EXEC);
MAP(one_page_too_long, ENXIO, .length = 5 * PAGE);
MAP(over_two_blocks, ENXIO, .length = 8 * PAGE);
MAP(from_its_second_page_too_long, ENXIO, .from = PAGE);
MAP(a_page_before_it, ENXIO, .from = -PAGE);
MAP_64(far_too_long, ENXIO, .length = 1ull << 40);
MAP_64(longer_than_memory, ENOMEM, .length = 1ull << 62);
MAP(offset_of_a_page, ENXIO, .length = PAGE, .at = PAGE, .absolute = true);
MAP(offset_beyond_the_region, ENXIO, .length = PAGE, .from = 64 * MIB);
MAP_64(offset_far_beyond, ENXIO, .length = PAGE, .from = 1ull << 45);
MAP_64(offset_the_last_page, ENXIO, .length = PAGE, .at = INT64_MAX & ~(PAGE - 1),
    .absolute = true);
MAP_64(offset_negative, ENXIO, .length = PAGE, .at = 1ull << 63, .absolute = true);
MAP_64(offset_wraps_around, EOVERFLOW, .length = 2 * PAGE, .at = -PAGE, .absolute = true);
MAP(offset_no_multiple_of_pages, EINVAL, .length = PAGE, .from = 1);
MAP(of_another_file, ENXIO, .file = ANOTHER);
MAP(of_a_file_for_reading, EACCES, .file = READING);
MAP(of_a_file_for_reading_readable, ENXIO, .file = READING, .prot = PROT_READ);
MAP(of_a_file_for_writing, EACCES, .file = WRITING);
MAP(of_a_file_for_writing_readable, EACCES, .file = WRITING, .prot = PROT_READ);
MAP(freed, ENXIO, .file = FREED);

MAP(offset_0, 0, .length = PAGE, .absolute = true);
MAP(offset_0_private, EINVAL, .length = PAGE, .absolute = true, .flags = MAP_PRIVATE);
MAP(offset_0_executable, EACCES, .length = PAGE, .absolute = true,
    .prot = RW | PROT_EXEC);
MAP(offset_0_of_a_file_for_reading, EACCES, .length = PAGE, .absolute = true,
    .file = READING, .prot = PROT_READ);
MAP(offset_0_of_a_file_for_writing, EACCES, .length = PAGE, .absolute = true,
    .file = WRITING, .prot = PROT_WRITE);
MAP_64(offset_0_far_too_long, ENOMEM, .length = 1ull << 46, .absolute = true);

#define MAP_BLOCK(_name, _error, ...)					\
	MAP(block_fd_##_name, _error, .file = BLOCK, .absolute = true, __VA_ARGS__)

MAP_BLOCK(whole, 0, .prot = RW);
MAP_BLOCK(last_page, 0, .length = PAGE, .at = 3 * PAGE);
MAP_BLOCK(private, EINVAL, .flags = MAP_PRIVATE);
/* Files without a node are noexec since some kernel between 6.12 and 7.3. */
MAP_BLOCK(executable, EACCES, .prot = RX, .or_error = -EPERM);
MAP_BLOCK(one_page_too_long, ENXIO, .length = 5 * PAGE);
MAP_BLOCK(from_its_second_page_too_long, ENXIO, .at = PAGE);
MAP_BLOCK(offset_behind_it, ENXIO, .length = PAGE, .at = 4 * PAGE);
MAP_64(block_fd_offset_far_behind, ENXIO, .length = PAGE, .at = 1ull << 50,
       .file = BLOCK, .absolute = true);
MAP_64(block_fd_offset_the_last_page, ENXIO, .length = PAGE, .at = INT64_MAX & ~(PAGE - 1),
       .file = BLOCK, .absolute = true);
MAP_BLOCK(offset_no_multiple_of_pages, EINVAL, .length = PAGE, .at = 1);
MAP(block_fd_offset_of_the_node, ENXIO, .file = BLOCK);
MAP(block_fd_read_only, 0, .file = BLOCK_READING, .absolute = true, .prot = PROT_READ);
MAP(block_fd_read_only_for_writing, EACCES, .file = BLOCK_READING, .absolute = true);
MAP(block_fd_read_only_writable_alone, EACCES, .file = BLOCK_READING, .absolute = true,
    .prot = PROT_WRITE);

TEST_F(map, gives_its_errno)
{
	struct buddy_alloc a, neighbour;
	struct buddy_stats before;
	uint64_t at = variant->at;
	int file, err;

	expect_eq(alloc_block(fd, PAGES * PAGE, &a), 0);
	expect_eq(alloc_block(fd, PAGES * PAGE, &neighbour), 0);
	expect_eq(neighbour.out_offset, a.out_offset + PAGES * PAGE);
	file = open_as(variant->file, &a);
	expect(file >= 0);
	if (variant->file == FREED)
		expect_eq(free_block(fd, a.out_handle), 0);
	before = get_stats(fd);
	if (!variant->absolute)
		at = a.out_offset + variant->from;
	err = map(file, variant->length ?: PAGES * PAGE, variant->prot ?: RW,
		  variant->flags ?: MAP_SHARED, at);
	if (!err || err != variant->or_error)
		expect_eq(err, variant->error);
	expect(wait_free(fd, before.out_free, 5));
	expect_eq(get_stats(fd).out_used, before.out_used);
	close(file);
}

TEST_F(device, mmap_length_0)
{
	expect_eq(map(fd, 0, RW, MAP_SHARED, 0), -EINVAL);
}

TEST_F(device, mmap_at_0_more_than_the_region)
{
	expect_eq(map(fd, region + PAGE, RW, MAP_SHARED, 0), -ENOMEM);
}

TEST_F(device, mmap_at_0_where_nothing_is_free)
{
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, region, &a), 0);
	expect_eq(map(fd, PAGE, RW, MAP_SHARED, 0), -ENOMEM);
	expect_eq(free_block(fd, a.out_handle), 0);
}

TEST_F(device, mmap_fixed_at_an_odd_address)
{
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect(mmap((void *)0x200000000123, PAGE, RW, MAP_SHARED | MAP_FIXED, fd,
		    (off_t)a.out_offset) == MAP_FAILED && errno == EINVAL);
}

static char *map_one(struct buddy_alloc *a)
{
	char *p;

	expect_eq(alloc_block(fd, PAGE, a), 0);
	p = map_block(fd, a);
	expect(p != MAP_FAILED);
	return p;
}

TEST_F(device, mprotect_cannot_make_it_executable)
{
	struct buddy_alloc a;
	char *p = map_one(&a);

	expect(mprotect(p, PAGE, RX) && errno == EACCES);
	expect(!mprotect(p, PAGE, PROT_READ));
	munmap(p, PAGE);
}

TEST_F(device, mremap_cannot_make_it_longer)
{
	struct buddy_alloc a;
	char *p = map_one(&a);

	expect(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED &&
	       errno == EFAULT);
	munmap(p, PAGE);
}

TEST_F(device, mprotect_cannot_make_a_read_only_share_writable)
{
	struct buddy_alloc a;
	int block;
	char *p;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	block = share_block(fd, BUDDY_IOC_SHARE, a.out_handle, BUDDY_SHARE_READ_ONLY);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, block, 0);
	expect(p != MAP_FAILED);
	expect(mprotect(p, PAGE, RW) && errno == EACCES);
	munmap(p, PAGE);
	close(block);
}

/*
 * open()
 */

DEVICE_FIXTURE(open) {
	int flags, error;
};

#define OPEN(_name, _flags, _error)					\
	FIXTURE_VARIANT_ADD(open, _name) { .flags = _flags, .error = -(_error) }

OPEN(reading, O_RDONLY, 0);
OPEN(writing, O_WRONLY, 0);
OPEN(both, O_RDWR, 0);
OPEN(nonblock, O_RDWR | O_NONBLOCK, 0);
OPEN(append, O_RDWR | O_APPEND, 0);
OPEN(truncate, O_RDWR | O_TRUNC, 0);
OPEN(sync, O_RDWR | O_SYNC, 0);
OPEN(path, O_PATH, 0);
OPEN(create_there, O_RDWR | O_CREAT, 0);
OPEN(create_exclusively, O_RDWR | O_CREAT | O_EXCL, EEXIST);
OPEN(directory, O_RDONLY | O_DIRECTORY, ENOTDIR);
OPEN(direct, O_RDWR | O_DIRECT, EINVAL);

TEST_F(open, gives_its_errno)
{
	int file = open("/dev/buddy", variant->flags, 0600);

	expect_eq(file < 0 ? -errno : 0, variant->error);
	if (file >= 0)
		close(file);
}

TEST_F(device, open_without_permission)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		_exit(open("/dev/buddy", O_RDWR) < 0 && errno == EACCES ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

/* The node's own permissions, not the descriptor's way here. */
TEST_F(device, a_passed_file_needs_no_permission)
{
	struct buddy_alloc a;
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		_exit(alloc_block(fd, PAGE, &a) || free_block(fd, a.out_handle));
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

/* Neither a stream, nor a file with a length. */
TEST_F(device, read_write_ftruncate)
{
	char byte = 0;

	expect_eq(result(read(fd, &byte, 1)), -EINVAL);
	expect_eq(result(write(fd, &byte, 1)), -EINVAL);
	expect_eq(result(ftruncate(fd, MIB)), -EINVAL);
}

TEST_HARNESS_MAIN
