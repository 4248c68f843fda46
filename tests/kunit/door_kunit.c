// SPDX-License-Identifier: GPL-2.0-only
/*
 * door_kunit.c - the doors, ioctl and mmap, as the VFS calls them: what they refuse
 * before they touch anything.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include <kunit/test.h>

#include "tap.h"
#include "world.h"

static struct file *open_file;
static void __user *page;	/* of the test's own address space */

/* An open file as the VFS makes it, but of no node. */
static struct file *file_of(fmode_t mode)
{
	struct file *file = kunit_kzalloc(tap_test, sizeof(*file), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(tap_test, file);
	file->private_data = world_file;
	file->f_mode = mode;
	file->f_mapping = world_file->inode->i_mapping;
	return file;
}

static void enter(void)
{
	unsigned long at = kunit_vm_mmap(tap_test, NULL, 0, PAGE_SIZE,
					 PROT_READ | PROT_WRITE,
					 MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE_MSG(tap_test, at, 0, "no user memory");
	page = (void __user *)at;
	open_file = file_of(FMODE_READ | FMODE_WRITE);
}

static long call_with(struct file *file, unsigned int cmd, const void *arg,
		      size_t size)
{
	expect(!copy_to_user(page, arg, size));
	return buddy_ioctl(file, cmd, (unsigned long)page);
}

#define call(cmd, arg)	call_with(open_file, cmd, arg, sizeof(*(arg)))

static void commands(void)
{
	struct buddy_info info = { .size = sizeof(info) };
	struct file *ro;

	enter();
	expect_eq(call(BUDDY_IOC_INFO, &info), 0);
	expect(!copy_from_user(&info, page, sizeof(info)));
	expect_eq(info.out_region, WORLD_UNITS * BUDDY_UNIT);
	for (u32 nr = 0; nr < 256; nr++)
		if (nr < _IOC_NR(BUDDY_IOC_INFO) || nr > _IOC_NR(BUDDY_IOC_DMABUF))
			expect_eq(buddy_ioctl(open_file, _IO(BUDDY_IOC_TYPE, nr),
					      (unsigned long)page), -ENOTTY);
	expect_eq(buddy_ioctl(open_file, BUDDY_IOC_BLOCK, (unsigned long)page), -ENOTTY);
	expect_eq(buddy_ioctl(open_file, BUDDY_IOC_INFO ^ (1 << 8),
			      (unsigned long)page), -ENOTTY);
	expect_eq(buddy_ioctl(open_file, BUDDY_IOC_INFO, 0), -EFAULT);
	ro = file_of(FMODE_READ);
	expect_eq(call_with(ro, BUDDY_IOC_INFO, &info, sizeof(info)), 0);
	expect_eq(call_with(ro, BUDDY_IOC_ALLOC, &info, sizeof(info)), -EBADF);
}

static void lengths(void)
{
	struct buddy_alloc alloc = { .length = PAGE_SIZE };

	enter();
	for (u32 size = 0; size < sizeof(alloc); size++) {
		alloc.size = size;
		expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -EINVAL);
	}
	alloc.size = PAGE_SIZE + 1;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -E2BIG);
	alloc.size = U32_MAX;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -E2BIG);
	alloc.size = sizeof(alloc);
	alloc.length = 0;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -EINVAL);
	alloc.length = WORLD_UNITS * BUDDY_UNIT + 1;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -EFBIG);
	alloc.length = U64_MAX;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), -EFBIG);
	expect_eq(world_region->allocs, 0);
	alloc.length = 1;
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), 0);
	expect(!copy_from_user(&alloc, page, sizeof(alloc)));
	expect_eq(alloc.out_length, PAGE_SIZE);
	expect_eq(buddy_kblock_free(world_file, alloc.out_handle), 0);
}

static int map(struct file *file, unsigned long flags, unsigned long pages, u64 pgoff)
{
	struct vm_area_struct vma = {
		.vm_start = BUDDY_UNIT,
		.vm_end = BUDDY_UNIT + pages * PAGE_SIZE,
		.vm_pgoff = pgoff,
	};

	vm_flags_init(&vma, flags);
	return buddy_mmap(file, &vma);
}

/* Only what is refused: a good one wants a real address space. */
static void mappings(void)
{
	const unsigned long rw = VM_READ | VM_WRITE | VM_SHARED | VM_MAYSHARE;
	const u64 base = BUDDY_MMAP_BASE_PAGES;
	struct buddy_alloc alloc = {
		.size = sizeof(alloc),
		.length = 3 * PAGE_SIZE,
	};

	enter();
	expect_eq(call(BUDDY_IOC_ALLOC, &alloc), 0);
	expect(!copy_from_user(&alloc, page, sizeof(alloc)));
	expect_eq(alloc.out_offset, BUDDY_MMAP_BASE);
	expect_eq(map(open_file, VM_READ | VM_WRITE, 1, base), -EINVAL);
	expect_eq(map(open_file, rw | VM_EXEC, 1, base), -EACCES);
	expect_eq(map(open_file, rw, 1, 1), -ENXIO);
	expect_eq(map(open_file, rw, 1, base - 1), -ENXIO);
	expect_eq(map(open_file, rw, 4, base), -ENXIO);
	expect_eq(map(open_file, rw, 1, base + 3), -ENXIO);
	expect_eq(map(open_file, rw, 1, base + world_region->pages), -ENXIO);
	expect_eq(map(open_file, rw, 1, U64_MAX >> PAGE_SHIFT), -ENXIO);
	/* offset 0: a new block */
	expect_eq(map(open_file, rw, world_region->pages + 1, 0), -ENOMEM);
	expect_eq(map(file_of(FMODE_READ), rw, 1, 0), -EACCES);
	expect_eq(world_region->nr_blocks, 1);
	expect_eq(buddy_kblock_free(world_file, alloc.out_handle), 0);
}

static int share_release(struct inode *inode, struct file *file)
{
	buddy_kblock_put(buddy_share_end(inode, file), false);
	return 0;
}

static const struct file_operations share_fops = {
	.owner = THIS_MODULE,
	.release = share_release,
};

static struct file *share(u32 pages, u32 flags)
{
	struct buddy_kblock *block = world_alloc_as(world_file, pages, flags);
	struct file *file;

	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(block));
	file = buddy_share_file(block, true);
	KUNIT_ASSERT_FALSE(tap_test, IS_ERR(file));
	return file;
}

/*
 * Mappings of a receiver are among the owner's only if the block shares a unit with
 * other blocks of the owner, and else by themselves.
 */
static void address_spaces(void)
{
	struct address_space *owner = world_file->inode->i_mapping;
	struct file *files[6];

	world_region->block_fops = &share_fops;
	files[0] = share(BUDDY_UNIT_PAGES, 0);
	files[1] = share(BUDDY_UNIT_PAGES, 0);
	files[2] = share(3, BUDDY_ALLOC_ALONE);
	files[3] = share(BUDDY_UNIT_PAGES + 3, BUDDY_ALLOC_ALONE);
	for (int i = 0; i < 4; i++) {
		expect(files[i]->f_mapping != owner);
		for (int j = 0; j < i; j++)
			expect(files[i]->f_mapping != files[j]->f_mapping);
	}
	files[4] = share(3, 0);
	files[5] = share(BUDDY_UNIT_PAGES + 3, 0);
	expect(files[4]->f_mapping == owner && files[5]->f_mapping == owner);
	for (int i = 0; i < ARRAY_SIZE(files); i++)
		fput(files[i]);
	/* the last one is released later, in another task */
	expect(world_is_free());
}

static const struct tap_case door_cases[] = {
	{ "commands that there are, and that there are not", commands },
	{ "lengths of structs and blocks", lengths },
	{ "mappings that are refused", mappings },
	{ "address spaces of block fds", address_spaces },
};

WORLD_SUITE(door);
