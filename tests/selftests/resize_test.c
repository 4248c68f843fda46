// SPDX-License-Identifier: MIT
/*
 * resize_test.c - TRIM and GROW: what stays, what comes, what goes, and when they
 * refuse. Needs root and the module.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>

#include "ktest.h"
#include "rnd.h"

static int trim(uint64_t handle, uint64_t length)
{
	return resize(fd, BUDDY_IOC_TRIM, handle, length);
}

static int grow(uint64_t handle, uint64_t length)
{
	return resize(fd, BUDDY_IOC_GROW, handle, length);
}

/* Each page says which it is, and whose. */
static void stamp(int file, const struct buddy_alloc *a, uint64_t from, uint64_t to,
		  uint64_t mark)
{
	char *p = mmap(NULL, a->out_length, PROT_READ | PROT_WRITE, MAP_SHARED, file,
		       (off_t)a->out_offset);

	expect(p != MAP_FAILED);
	if (p == MAP_FAILED)
		return;
	for (uint64_t at = from; at < to; at += PAGE)
		*(uint64_t *)(p + at) = mark + at;
	munmap(p, a->out_length);
}

/* Stamped up to @old, zero from there. */
static bool holds(int file, const struct buddy_alloc *a, uint64_t old, uint64_t mark)
{
	uint64_t *p = mmap(NULL, a->out_length, PROT_READ | PROT_WRITE, MAP_SHARED,
			   file, (off_t)a->out_offset);
	bool good = p != MAP_FAILED;

	for (uint64_t at = 0; good && at < a->out_length; at += PAGE)
		good = p[at / 8] == (at < old ? mark + at : 0);
	for (uint64_t at = old; good && at < a->out_length; at += 8)
		good = !p[at / 8];
	if (p != MAP_FAILED)
		munmap(p, a->out_length);
	return good;
}

TEST_F(device, the_length_that_it_has_is_nothing_to_do)
{
	uint64_t used = get_stats(fd).out_used;
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, 4 * PAGE, &a), 0);
	expect_eq(trim(a.out_handle, 4 * PAGE), 0);
	expect_eq(grow(a.out_handle, 4 * PAGE), 0);
	/* in pages */
	expect_eq(trim(a.out_handle, 4 * PAGE - 1), 0);
	expect_eq(grow(a.out_handle, 4 * PAGE - 1), 0);
	expect_eq(get_stats(fd).out_used, used + 4 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
}

/* Between every two of these: shorter, and back again. */
TEST_F(device, from_every_length_to_every_other_and_back)
{
	static const uint64_t pages[] = {
		1, 3, 511, 512, 513, 1023, 1024, 1031, 2048, 2660, 3072,
	};
	const size_t count = sizeof(pages) / sizeof(pages[0]);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = i; j < count && !has_failed(); j++) {
			uint64_t less = pages[i] * PAGE, more = pages[j] * PAGE;
			struct buddy_alloc a, longer;

			expect_eq(alloc_block(fd, more, &a), 0);
			stamp(fd, &a, 0, more, 77);
			longer = a;
			expect_eq(trim(a.out_handle, less), 0);
			a.out_length = less;
			expect_eq(get_stats(fd).out_used, less);
			/* the old end is not there any more */
			if (more > less)
				expect(map_block(fd, &longer) == MAP_FAILED &&
				       errno == ENXIO);
			expect(holds(fd, &a, less, 77));
			expect_eq(grow(a.out_handle, more), 0);
			expect_eq(get_stats(fd).out_used, more);
			expect(holds(fd, &longer, less, 77));
			expect_eq(free_block(fd, a.out_handle), 0);
			expect(wait_free(fd, region, 5));
			expect_eq(get_stats(fd).out_private, 0);
		}
	}
}

/* What was trimmed is everybody's, and zero. */
TEST_F(device, what_is_trimmed_is_free_and_zero)
{
	struct buddy_alloc a, b, c;
	int other = device_open();

	expect_eq(alloc_block(fd, region, &a), 0);
	stamp(fd, &a, 0, region, 5);
	expect_eq(trim(a.out_handle, 3 * MIB), 0);
	a.out_length = 3 * MIB;
	expect_eq(alloc_block(other, region / 2, &b), 0);
	expect(holds(other, &b, 0, 0));
	/* the rest of the unit in which it ends: this file's */
	expect_eq(alloc_block(fd, MIB, &c), 0);
	expect_eq(c.out_offset, a.out_offset + 3 * MIB);
	expect(holds(fd, &c, 0, 0));
	expect(holds(fd, &a, 3 * MIB, 5));
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, c.out_handle), 0);
	close(other);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, what_follows_is_not_free)
{
	struct buddy_alloc a, b, c, small[3];

	/* what follows is somebody's: whole units, then a tail's unit */
	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	expect_eq(alloc_block(fd, 2 * MIB, &b), 0);
	expect_eq(b.out_offset, a.out_offset + 2 * MIB);
	expect_eq(grow(a.out_handle, 2 * MIB + PAGE), -ENOMEM);
	expect_eq(grow(a.out_handle, 4 * MIB), -ENOMEM);
	expect_eq(grow(a.out_handle, region), -ENOMEM);
	expect_eq(grow(b.out_handle, region), -EFBIG);
	expect_eq(grow(b.out_handle, 3 * MIB), 0);
	expect_eq(alloc_block(fd, PAGE, &c), 0);
	expect_eq(c.out_offset, b.out_offset + 3 * MIB);
	expect_eq(grow(b.out_handle, 3 * MIB + PAGE), -ENOMEM);
	expect_eq(grow(b.out_handle, 4 * MIB), -ENOMEM);
	expect_eq(get_stats(fd).out_used, 5 * MIB + PAGE);
	expect_eq(free_block(fd, c.out_handle), 0);
	expect_eq(grow(b.out_handle, 4 * MIB), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, b.out_handle), 0);

	/* small ones, in one unit */
	for (int i = 0; i < 3; i++)
		expect_eq(alloc_block(fd, PAGE, &small[i]), 0);
	expect_eq(grow(small[0].out_handle, 2 * PAGE), -ENOMEM);
	expect_eq(grow(small[2].out_handle, 2 * MIB - 2 * PAGE), 0);
	/* beyond its unit: a head, whole units, a tail */
	expect_eq(grow(small[2].out_handle, 2 * MIB - PAGE), 0);
	expect_eq(grow(small[2].out_handle, 7 * MIB + PAGE), 0);
	expect_eq(grow(small[2].out_handle, region), -EFBIG);
	expect_eq(get_stats(fd).out_used, 7 * MIB + 3 * PAGE);
	for (int i = 1; i < 3; i++)
		expect_eq(free_block(fd, small[i].out_handle), 0);
	expect_eq(grow(small[0].out_handle, 5 * MIB), 0);
	expect_eq(free_block(fd, small[0].out_handle), 0);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, not_while_mapped_or_shared)
{
	const uint64_t length = 3 * MIB;
	struct buddy_alloc a;
	char *p;
	int other;

	expect_eq(alloc_block(fd, length, &a), 0);
	p = map_block(fd, &a);
	expect_eq(trim(a.out_handle, PAGE), -EBUSY);
	expect_eq(grow(a.out_handle, 4 * MIB), -EBUSY);
	munmap(p + PAGE, length - PAGE);
	expect_eq(trim(a.out_handle, PAGE), -EBUSY);
	munmap(p, PAGE);
	for (int i = 0; i < 2; i++) {
		other = share_block(fd, i ? BUDDY_IOC_DMABUF : BUDDY_IOC_SHARE, a.out_handle, 0);
		expect(other >= 0);
		expect_eq(trim(a.out_handle, PAGE), -EBUSY);
		expect_eq(grow(a.out_handle, 4 * MIB), -EBUSY);
		close(other);
		/* a dma-buf and its file end on the way back from close() */
		expect_eq(trim(a.out_handle, length), 0);
	}
	expect_eq(get_stats(fd).out_used, length);
	expect_eq(trim(a.out_handle, PAGE), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* Pages in a pipe: what is trimmed waits, what is kept is not disturbed. */
TEST_F(device, pages_that_somebody_holds)
{
	struct buddy_alloc a;
	struct iovec io[2];
	uint64_t words[2 * PAGE / 8];
	int pipes[2];
	char *p;

	expect(!pipe(pipes));
	expect_eq(alloc_block(fd, 8 * MIB, &a), 0);
	stamp(fd, &a, 0, 8 * MIB, 9);
	p = map_block(fd, &a);
	io[0] = (struct iovec){ p + MIB, PAGE };
	io[1] = (struct iovec){ p + 7 * MIB, PAGE };
	expect_eq(vmsplice(pipes[1], io, 2, 0), 2 * PAGE);
	munmap(p, 8 * MIB);
	expect_eq(trim(a.out_handle, 4 * MIB), 0);
	usleep(100000);
	/* of the four MiB the unit that has the page */
	expect_eq(get_stats(fd).out_quarantined, 2 * MIB);
	expect_eq(get_stats(fd).out_used, 4 * MIB);
	expect_eq(grow(a.out_handle, 8 * MIB), -ENOMEM);
	expect_eq(read(pipes[0], words, sizeof(words)), sizeof(words));
	expect_eq(words[0], 9 + MIB);
	expect_eq(words[PAGE / 8], 9 + 7 * MIB);
	/* helps what is no longer held */
	expect_eq(grow(a.out_handle, 8 * MIB), 0);
	expect_eq(get_stats(fd).out_quarantined, 0);
	a.out_length = 8 * MIB;
	expect(holds(fd, &a, 4 * MIB, 9));
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * Many blocks, grown and trimmed at random. GROW may refuse, nothing else may;
 * contents and the sum of lengths are as they should be.
 */
TEST_F(device, random_blocks)
{
	enum { BLOCKS = 24 };
	struct buddy_alloc a[BLOCKS] = { 0 };
	uint64_t used = 0, grown = 0;

	seed = 12345;
	for (int round = 0; round < 600 && !has_failed(); round++) {
		struct buddy_alloc *b = &a[rnd() % BLOCKS];
		uint64_t length = (1 + rnd() % (rnd() % 2 ? 30 : 1700)) * PAGE;
		uint64_t old = b->out_length;

		if (!old) {
			if (!alloc_block(fd, length, b))
				stamp(fd, b, 0, length, b->out_offset);
		} else if (rnd() % 4 == 0) {
			expect_eq(free_block(fd, b->out_handle), 0);
			*b = (struct buddy_alloc){ 0 };
		} else if (length <= old) {
			expect_eq(trim(b->out_handle, length), 0);
			b->out_length = length;
			expect(holds(fd, b, length, b->out_offset));
		} else if (!grow(b->out_handle, length)) {
			grown++;
			b->out_length = length;
			expect(holds(fd, b, old, b->out_offset));
			stamp(fd, b, old, length, b->out_offset);
		}
		used += b->out_length - old;
		expect_eq(get_stats(fd).out_used, used);
	}
	printf("# grown %llu times\n", (unsigned long long)grown);
	expect(grown > 20);
	for (int i = 0; i < BLOCKS; i++)
		if (a[i].out_length)
			expect_eq(free_block(fd, a[i].out_handle), 0);
	expect(wait_free(fd, region, 20));
}

static volatile uint64_t contested;

static void *contest(void *arg)
{
	double end = now() + 3;

	(void)arg;
	while (now() < end) {
		uint64_t handle = contested;
		uint64_t length = (1 + rnd() % 1500) * PAGE;
		struct buddy_alloc a;
		int file;

		switch (rnd() % 6) {
		case 0:
			trim(handle, length);
			break;
		case 1:
			grow(handle, length);
			break;
		case 2:
			file = share_block(fd, BUDDY_IOC_SHARE, handle, 0);
			if (file >= 0) {
				void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					       MAP_SHARED, file, 0);

				if (p != MAP_FAILED) {
					*(volatile char *)p = 1;
					munmap(p, PAGE);
				}
				close(file);
			}
			break;
		case 3:
			if (!alloc_block(fd, length, &a)) {
				char *p = map_block(fd, &a);

				contested = a.out_handle;
				if (p != MAP_FAILED) {
					p[length - 1] = 1;
					munmap(p, length);
				}
				/* what was contested before */
				free_block(fd, handle);
			}
			break;
		default:
			get_stats(fd);
		}
	}
	return NULL;
}

/*
 * Threads that resize, map, share and free one block: no harm, nothing lost. They
 * share the random numbers, too, which does not make them worse.
 */
TEST_F(device, threads_that_contest_a_block)
{
	enum { THREADS = 6 };
	pthread_t threads[THREADS];
	int own = fd;

	fd = device_open();
	for (int i = 0; i < THREADS; i++)
		expect(!pthread_create(&threads[i], NULL, contest, NULL));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close(fd);
	fd = own;
	expect(wait_free(fd, region, 20));
}

/* A tail that was written is part of a whole unit then, and is zeroed when that is freed. */
TEST_F(device, a_written_tail_that_becomes_whole)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 2 * MIB + 3 * PAGE, &a);

	munmap(p, a.out_length);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, 4 * MIB), 0);
	/* not mapped again */
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(alloc_block(fd, region, &a), 0);
	p = map_block(fd, &a);
	expect(p != MAP_FAILED && is_zero(p, region));
	give_back(fd, p, &a);
}

TEST_HARNESS_MAIN
