// SPDX-License-Identifier: MIT
/*
 * batch_test.c - BATCH: all or a prefix, which is reported; wrong entries one at a
 * time. Needs root and the module.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "ktest.h"

#define MAX	BUDDY_BATCH_MAX
#define WHOLE_REGION	(1ull << 60)	/* stands for its length, where a constant is needed */

static struct buddy_batch_entry entries[MAX + 1];

static struct buddy_batch_entry an_alloc(uint64_t length)
{
	return (struct buddy_batch_entry){
		.op = BUDDY_BATCH_ALLOC,
		.length = length,
	};
}

static struct buddy_batch_entry a_free(uint64_t handle)
{
	return (struct buddy_batch_entry){
		.op = BUDDY_BATCH_FREE,
		.handle = handle,
	};
}

static struct buddy_batch batch_of(void *array, uint32_t count)
{
	return (struct buddy_batch){
		.size = sizeof(struct buddy_batch),
		.entries = (uintptr_t)array,
		.count = count,
		.entry_size = sizeof(struct buddy_batch_entry),
	};
}

/* Return: 0 or a negative errno; *done: operations done. */
static int run(uint32_t count, uint32_t *done)
{
	struct buddy_batch b = batch_of(entries, count);
	int err = call(fd, BUDDY_IOC_BATCH, &b);

	*done = b.out_done;
	return err;
}

/* What the first @count entries allocated is freed, by a batch. */
static void free_all(uint32_t count)
{
	uint32_t done;

	for (uint32_t i = 0; i < count; i++)
		entries[i] = a_free(entries[i].handle);
	if (count)
		expect_eq(run(count, &done), 0);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, 1024_allocated_1024_freed)
{
	uint32_t done;

	for (uint32_t i = 0; i < MAX; i++)
		entries[i] = an_alloc((1 + i % 7) * PAGE);
	expect_eq(run(MAX, &done), 0);
	expect_eq(done, MAX);
	expect_eq(get_stats(fd).out_blocks, MAX);
	for (uint32_t i = 0; i < MAX; i++) {
		struct buddy_alloc a = {
			.out_length = entries[i].out_length,
			.out_offset = entries[i].out_offset,
		};
		char *p = map_block(fd, &a);

		expect_eq(a.out_length, (1 + i % 7) * PAGE);
		expect(p != MAP_FAILED);
		if (p == MAP_FAILED)
			break;
		expect(!*p);
		*p = 1;
		munmap(p, a.out_length);
	}
	free_all(MAX);
	expect_eq(done, MAX);
	expect_eq(get_stats(fd).out_blocks, 0);
}

/* Freed and allocated again in one call, aligned and as a power of two. */
TEST_F(device, freed_and_allocated_in_one_call)
{
	uint32_t done;

	entries[0] = an_alloc(region);
	expect_eq(run(1, &done), 0);
	entries[0] = a_free(entries[0].handle);
	entries[1] = an_alloc(3 * PAGE);
	entries[1].align = MIB;
	entries[2] = an_alloc(3 * PAGE);
	entries[2].flags = BUDDY_ALLOC_POW2;
	expect_eq(run(3, &done), 0);
	expect_eq(done, 3);
	expect_eq(entries[1].out_offset % MIB, 0);
	expect_eq(entries[2].out_length, 4 * PAGE);
	entries[0] = entries[1];
	entries[1] = entries[2];
	free_all(2);
}

/* Five good ones, then one that is wrong, then one that must not be done. */
DEVICE_FIXTURE(prefix) {
	struct buddy_batch_entry wrong;
	int error;
};

#define WRONG_ENTRY(_what, _error, ...)					\
	FIXTURE_VARIANT_ADD(prefix, _what) {				\
		.wrong = { __VA_ARGS__ },				\
		.error = -(_error),					\
	}
#define WRONG_ALLOC(_what, _error, ...)					\
	WRONG_ENTRY(alloc_##_what, _error, .op = BUDDY_BATCH_ALLOC, __VA_ARGS__)
#define WRONG_FREE(_what, _error, ...)					\
	WRONG_ENTRY(free_##_what, _error, .op = BUDDY_BATCH_FREE, __VA_ARGS__)

WRONG_ENTRY(op_0, EINVAL, .op = 0, .length = PAGE);
WRONG_ENTRY(op_unknown, EINVAL, .op = BUDDY_BATCH_FREE + 1, .length = PAGE);
WRONG_ENTRY(op_max, EINVAL, .op = UINT32_MAX, .length = PAGE);
WRONG_ALLOC(length_0, EINVAL, .length = 0);
WRONG_ALLOC(length_max, EFBIG, .length = UINT64_MAX);
WRONG_ALLOC(length_in_use, ENOMEM, .length = WHOLE_REGION);
WRONG_ALLOC(length_beyond, EFBIG, .length = WHOLE_REGION + 1);
WRONG_ALLOC(flag_unknown, EINVAL, .length = PAGE, .flags = 1u << 31);
WRONG_ALLOC(align_3, EINVAL, .length = PAGE, .align = 3);
WRONG_FREE(handle_0, ENOENT, .handle = 0);
WRONG_FREE(handle_max, ENOENT, .handle = UINT64_MAX);
WRONG_FREE(handle_high_bits, ENOENT, .handle = 1ull << 63);
WRONG_FREE(handle_of_32_bits, ENOENT, .handle = UINT32_MAX);
WRONG_FREE(flags, EINVAL, .handle = 1, .flags = 1);
WRONG_FREE(length, EINVAL, .handle = 1, .length = 1);
WRONG_FREE(align, EINVAL, .handle = 1, .align = 1);

TEST_F(prefix, up_to_the_wrong_entry)
{
	uint32_t done;

	for (int i = 0; i < 7; i++)
		entries[i] = an_alloc(PAGE);
	entries[5] = variant->wrong;
	/* a variant is a constant, the length of the region is not */
	if (entries[5].length == WHOLE_REGION || entries[5].length == WHOLE_REGION + 1)
		entries[5].length += region - WHOLE_REGION;
	entries[6].handle = 4711;
	expect_eq(run(7, &done), variant->error);
	expect_eq(done, 5);
	expect_eq(get_stats(fd).out_blocks, 5);
	expect_eq(entries[6].handle, 4711);
	free_all(5);
}

TEST_F(device, no_memory_explains_itself)
{
	struct buddy_batch b = batch_of(entries, 2);

	entries[0] = an_alloc(region / 2);
	entries[1] = an_alloc(region);
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), -ENOMEM);
	expect_eq(b.out_done, 1);
	expect_eq(b.out_free, region / 2);
	expect_eq(b.out_largest, region / 2);
	expect_eq(b.out_returning, 0);
	expect_eq(b.out_account_limit, 0);
	expect_eq(b.out_account_used, 0);
	free_all(1);
}

/* Entries of a newer header: longer, and what is not known is 0. */
TEST_F(device, entries_of_a_newer_header)
{
	struct {
		struct buddy_batch_entry e;
		uint64_t more;
	} longer[2] = { { an_alloc(PAGE), 0 }, { an_alloc(PAGE), 0 } };
	struct buddy_batch b = batch_of(longer, 2);

	b.entry_size = sizeof(longer[0]);
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), 0);
	expect(longer[0].e.handle != longer[1].e.handle);
	for (int i = 0; i < 2; i++)
		longer[i].e = a_free(longer[i].e.handle);
	longer[1].more = 1;
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), -E2BIG);
	expect_eq(b.out_done, 1);
	expect_eq(free_block(fd, longer[1].e.handle), 0);
}

/* An array that ends where no page is; one that cannot be written. */
TEST_F(device, an_array_that_cannot_be_read_or_written)
{
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buddy_batch_entry *e = (void *)(page + PAGE - 3 * sizeof(*e));
	struct buddy_batch *where, b = batch_of(e, 5);

	for (int i = 0; i < 3; i++)
		e[i] = an_alloc(PAGE);
	munmap(page + PAGE, PAGE);
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), -EFAULT);
	expect_eq(b.out_done, 3);
	memcpy(entries, e, 3 * sizeof(*e));
	free_all(3);

	for (int i = 0; i < 3; i++)
		e[i] = an_alloc(PAGE);
	mprotect(page, PAGE, PROT_READ);
	b = batch_of(e, 3);
	expect_eq(call(fd, BUDDY_IOC_BATCH, &b), -EFAULT);
	expect_eq(b.out_done, 0);
	expect_eq(get_stats(fd).out_blocks, 0);

	/* the reply itself */
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	where = (void *)page;
	*where = batch_of(entries, 1);
	entries[0] = an_alloc(PAGE);
	mprotect(page, PAGE, PROT_READ);
	expect_eq(call(fd, BUDDY_IOC_BATCH, where), -EFAULT);
	expect_eq(get_stats(fd).out_blocks, 0);
	munmap(page, PAGE);
}

/* Killed amid batches, some of them waiting for memory. */
TEST_F(device, sigkill_amid_batches)
{
	for (int round = 0; round < 20; round++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			fd = device_open();
			for (;;) {
				uint32_t done;

				for (uint32_t i = 0; i < MAX; i++)
					entries[i] = an_alloc((1 + i % 50) * PAGE);
				run(MAX, &done);
				for (uint32_t i = 0; i < done; i++)
					entries[i] = a_free(entries[i].handle);
				run(done, &done);
			}
		}
		usleep(5000 + 3000 * (unsigned int)round);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		expect(WIFSIGNALED(status));
	}
	expect(wait_free(fd, region, 20));
}

TEST_HARNESS_MAIN
