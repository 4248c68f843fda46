// SPDX-License-Identifier: MIT
/*
 * scatter_test.c - SCATTER: blocks of several pieces behind one mapping. Needs root
 * and the module.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>

#include "ktest.h"
#include "rnd.h"

#define UNIT	(2 * MIB)
#define UNITS	64		/* at most, of the region */

static bool contiguous(uint64_t handle)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	int block = share_block(fd, BUDDY_IOC_SHARE, handle, 0);

	expect_eq(call(block, BUDDY_IOC_BLOCK, &info), 0);
	close(block);
	return info.out_features & BUDDY_FEATURE_CONTIGUOUS;
}

/* Every second unit of the region is in use, each with its stamp. */
static struct buddy_alloc fence[UNITS];

static void fence_up(void)
{
	for (uint64_t i = 0; i < region / UNIT; i++)
		expect_eq(alloc_block(fd, UNIT, &fence[i]), 0);
	for (uint64_t i = 0; i < region / UNIT; i++) {
		if (i % 2) {
			char *p = map_block(fd, &fence[i]);

			mark_pages(p, UNIT, i);
			munmap(p, UNIT);
		} else {
			expect_eq(free_block(fd, fence[i].out_handle), 0);
		}
	}
	expect(wait_free(fd, region / 2, 20));
	expect_eq(get_stats(fd).out_largest, UNIT);
}

/* Nobody wrote to it. */
static void fence_down(void)
{
	for (uint64_t i = 1; i < region / UNIT; i += 2) {
		char *p = map_block(fd, &fence[i]);

		expect(are_marked(p, UNIT, i));
		munmap(p, UNIT);
		expect_eq(free_block(fd, fence[i].out_handle), 0);
	}
	expect(wait_free(fd, region, 20));
}

TEST_F(device, in_pieces_where_there_is_no_one_range)
{
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_alloc a;
	char *p;

	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	fence_up();
	expect_eq(alloc_block(fd, region / 2, &a), -ENOMEM);
	expect_eq(scatter_block(fd, region / 2, &a), 0);
	expect_eq(a.out_length, region / 2);
	expect_eq(a.out_offset % UNIT, 0);
	expect_eq(get_stats(fd).out_free, 0);
	expect(!contiguous(a.out_handle));
	p = map_block(fd, &a);
	expect(p != MAP_FAILED);
	expect(is_zero(p, region / 2));
	mark_pages(p, region / 2, 1000);
	expect_eq(smaps(p, "Rss"), region / 2 / 1024);
	expect_eq(smaps(p, "FilePmdMapped"),
		  fits_huge(p) && info.out_features & BUDDY_FEATURE_HUGE ? region / 2 / 1024 : 0);
	expect(!madvise(p + MIB, 3 * MIB, MADV_DONTNEED));
	expect(are_marked(p, region / 2, 1000));
	munmap(p, region / 2);
	p = map_block(fd, &a);
	expect(are_marked(p, region / 2, 1000));
	munmap(p, region / 2);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region / 2, 20));
	/* as zero as any other */
	expect_eq(scatter_block(fd, region / 2, &a), 0);
	p = map_block(fd, &a);
	expect(is_zero(p, region / 2));
	munmap(p, region / 2);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down();
}

TEST_F(device, exact_lengths_and_full_is_full)
{
	static const uint64_t less[] = { 0, 1, 2, 511, 512, 513, 700 };
	struct buddy_alloc a;
	char *p;

	fence_up();
	for (size_t i = 0; i < sizeof(less) / sizeof(less[0]); i++) {
		uint64_t length = region / 2 - less[i] * PAGE;

		expect_eq(scatter_block(fd, length, &a), 0);
		expect_eq(a.out_length, length);
		expect_eq(get_stats(fd).out_used, region / 2 + length);
		p = map_block(fd, &a);
		expect(is_zero(p, length));
		mark_pages(p, length, i);
		expect(are_marked(p, length, i));
		munmap(p, length);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect(wait_free(fd, region / 2, 20));
	}
	expect_eq(scatter_block(fd, region / 2 + PAGE, &a), -ENOMEM);
	expect_eq(a.out_free, region / 2);
	expect_eq(a.out_largest, UNIT);
	expect_eq(get_stats(fd).out_free, region / 2);
	fence_down();
}

/* Where one range serves, it is a block like any other. */
TEST_F(device, in_one_piece_where_there_is_one)
{
	struct buddy_resize r = { .size = sizeof(r), .length = PAGE };
	struct buddy_alloc a;

	expect_eq(scatter_block(fd, 5 * MIB + PAGE, &a), 0);
	expect(contiguous(a.out_handle));
	r.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_TRIM, &r), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(scatter_block(fd, PAGE, &a), 0);
	expect(contiguous(a.out_handle));
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(scatter_block(fd, region + 1, &a), -EFBIG);
}

TEST_F(device, grow_does_not)
{
	struct buddy_resize r = { .size = sizeof(r), .length = 2 * UNIT };
	struct buddy_alloc a;

	fence_up();
	expect_eq(scatter_block(fd, 2 * UNIT, &a), 0);
	r.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_GROW, &r), -EOPNOTSUPP);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down();
}

/* What a TRIM leaves keeps its contents; the rest is free and zero, and other blocks get it. */
TEST_F(device, trim)
{
	static const uint64_t keep[] = {
		7 * UNIT + 3 * PAGE, 7 * UNIT + PAGE, 7 * UNIT, 6 * UNIT + MIB,
		6 * UNIT + PAGE, 3 * UNIT, 3 * UNIT - PAGE, UNIT, 5 * PAGE, PAGE,
	};
	struct buddy_resize r = { .size = sizeof(r) };
	struct buddy_alloc a, b;
	char *p;

	fence_up();
	expect_eq(scatter_block(fd, 7 * UNIT + 5 * PAGE, &a), 0);
	r.handle = a.out_handle;
	p = map_block(fd, &a);
	mark_pages(p, a.out_length, 77);
	r.length = UNIT;
	expect_eq(call(fd, BUDDY_IOC_TRIM, &r), -EBUSY);
	munmap(p, a.out_length);
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++) {
		uint64_t units = (keep[i] + UNIT - 1) / UNIT * UNIT;

		r.length = keep[i];
		expect_eq(call(fd, BUDDY_IOC_TRIM, &r), 0);
		expect_eq(get_stats(fd).out_used, region / 2 + keep[i]);
		expect_eq(settled_stats(fd, 0).out_free, region / 2 - units);
		expect_eq(get_stats(fd).out_private, units - keep[i]);
		/* others get it, zero */
		expect_eq(scatter_block(fd, region / 2 - units, &b), 0);
		p = map_block(fd, &b);
		expect(is_zero(p, b.out_length));
		mark_pages(p, b.out_length, 5);
		munmap(p, b.out_length);
		expect_eq(free_block(fd, b.out_handle), 0);
		a.out_length = keep[i];
		p = map_block(fd, &a);
		expect(are_marked(p, keep[i], 77));
		munmap(p, keep[i]);
		expect(wait_free(fd, region / 2 - units, 20));
	}
	r.length = 2 * PAGE;
	expect_eq(call(fd, BUDDY_IOC_TRIM, &r), -EINVAL);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down();
}

/* A TRIM that ends within one of several runs: its tail takes the place of the next. */
TEST_F(device, trim_within_a_run)
{
	struct buddy_resize r = { .size = sizeof(r), .length = UNIT + MIB };
	struct buddy_alloc unit[8], rest, a;
	char *p;

	expect_eq(alloc_block(fd, region - 8 * UNIT, &rest), 0);
	for (int i = 0; i < 8; i++)
		expect_eq(alloc_block(fd, UNIT, &unit[i]), 0);
	for (int i = 0; i < 8; i++)
		if (i % 3 != 2)
			expect_eq(free_block(fd, unit[i].out_handle), 0);
	expect_eq(scatter_block(fd, 5 * UNIT + 3 * PAGE, &a), 0);
	expect(!contiguous(a.out_handle));
	p = map_block(fd, &a);
	mark_pages(p, a.out_length, 5);
	munmap(p, a.out_length);
	r.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_TRIM, &r), 0);
	expect(wait_free(fd, 4 * UNIT, 20));
	a.out_length = r.length;
	p = map_block(fd, &a);
	expect(are_marked(p, r.length, 5));
	munmap(p, r.length);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, 6 * UNIT, 20));
	for (int i = 2; i < 8; i += 3)
		expect_eq(free_block(fd, unit[i].out_handle), 0);
	expect_eq(free_block(fd, rest.out_handle), 0);
}

/* Crumbs of a unit that is cut up: pieces of a page. */
TEST_F(device, pieces_of_a_page)
{
	struct buddy_alloc rest, page[512], a;
	char *p;

	expect_eq(alloc_block(fd, region - UNIT, &rest), 0);
	for (int i = 0; i < 512; i++)
		expect_eq(alloc_block(fd, PAGE, &page[i]), 0);
	for (int i = 0; i < 512; i += 2)
		expect_eq(free_block(fd, page[i].out_handle), 0);
	expect_eq(get_stats(fd).out_private, MIB);
	expect_eq(alloc_block(fd, 2 * PAGE, &a), -ENOMEM);
	expect_eq(scatter_block(fd, 257 * PAGE, &a), -ENOMEM);
	expect_eq(scatter_block(fd, 256 * PAGE, &a), 0);
	expect(!contiguous(a.out_handle));
	expect_eq(get_stats(fd).out_private, 0);
	p = map_block(fd, &a);
	expect(is_zero(p, MIB));
	mark_pages(p, MIB, 3);
	for (int i = 1; i < 512; i += 2) {
		char *q = map_block(fd, &page[i]);

		expect(is_zero(q, PAGE));
		munmap(q, PAGE);
	}
	expect(are_marked(p, MIB, 3));
	munmap(p, MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	for (int i = 1; i < 512; i += 2)
		expect_eq(free_block(fd, page[i].out_handle), 0);
	expect_eq(free_block(fd, rest.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/*
 * A small block in the unit of the last piece, which is mapped and touched at
 * another offset than its own: it comes back all the same.
 */
TEST_F(device, a_neighbour_of_a_piece_comes_back)
{
	struct buddy_alloc a, small;
	char *p, *q;

	fence_up();
	expect_eq(scatter_block(fd, 2 * UNIT + 40 * PAGE, &a), 0);
	expect(!contiguous(a.out_handle));
	p = map_block(fd, &a);
	mark_pages(p, a.out_length, 6);
	expect_eq(alloc_block(fd, 32 * PAGE, &small), 0);
	q = map_block(fd, &small);
	mark_pages(q, small.out_length, 7);
	munmap(q, small.out_length);
	mark_pages(p, a.out_length, 8);
	expect_eq(free_block(fd, small.out_handle), 0);
	expect_eq(settled_stats(fd, 0).out_private, UNIT - 40 * PAGE);
	expect(are_marked(p, a.out_length, 8));
	munmap(p, a.out_length);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down();
}

/* Parts of it, over the borders of pieces, at good and at odd addresses. */
TEST_F(device, mappings_of_parts)
{
	struct buddy_alloc a;
	char *p, *whole, *room;

	fence_up();
	expect_eq(scatter_block(fd, 3 * UNIT + 100 * PAGE, &a), 0);
	whole = map_block(fd, &a);
	mark_pages(whole, a.out_length, 50);
	room = mmap(NULL, 8 * UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint64_t at = 0; at < a.out_length; at += 123 * PAGE) {
		uint64_t length = 700 * PAGE;

		if (length > a.out_length - at)
			length = a.out_length - at;
		p = mmap(room + 3 * PAGE, length, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, (off_t)(a.out_offset + at));
		expect(p != MAP_FAILED);
		/* backwards: each fault finds something mapped behind it */
		for (uint64_t i = length; i; i -= PAGE)
			if (*(uint64_t *)(p + i - PAGE) != 50 + at + i - PAGE) {
				expect(!"a page is not where it should be");
				break;
			}
	}
	expect(mmap(room, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		    (off_t)(a.out_offset + a.out_length)) == MAP_FAILED &&
	       errno == ENXIO);
	expect(mmap(room, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		    (off_t)(a.out_offset - PAGE)) == MAP_FAILED &&
	       errno == ENXIO);
	munmap(whole + UNIT - PAGE, 2 * PAGE);
	expect(are_marked(whole, UNIT - PAGE, 50));
	munmap(whole, a.out_length);
	munmap(room, 8 * UNIT);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down();
}

/*
 * The rest lies behind another block in a unit, or in several places there, and the
 * mapping is moved to where huge entries do not fit: no page of the other one shows.
 * Kernel 7.3 maps more than the page that a fault asks for.
 */
TEST_F(device, no_page_of_others_shows)
{
	struct buddy_alloc a, mine;
	char *p, *q, *room;

	fence_up();
	room = mmap(NULL, region, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	room += UNIT - (uintptr_t)room % UNIT;
	for (uint64_t in_front = PAGE; in_front <= MIB; in_front *= 4) {
		/* each page would take long, and a prime stride comes by all places */
		uint64_t step = in_front < 7 * PAGE ? 7 * PAGE : in_front;

		/* a unit for it, and none for the rest of the other */
		expect_eq(alloc_block(fd, in_front, &mine), 0);
		q = map_block(fd, &mine);
		fill(q, 0x5a, in_front);
		expect_eq(scatter_block(fd, region / 2 - UNIT + MIB, &a), 0);
		for (uint64_t shift = 0; shift < UNIT; shift += step) {
			bool other = false;

			p = map_block(fd, &a);
			p = mremap(p, a.out_length, a.out_length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, room + shift);
			expect(p != MAP_FAILED);
			p[region / 2 - UNIT + 5 * PAGE] = 1;
			/* what is before it has its units to itself */
			for (uint64_t at = a.out_length - 2 * UNIT; at < a.out_length; at += PAGE)
				other |= p[at] == 0x5a;
			expect(!other);
			/* the room stays taken: the next mapping would lie there */
			mmap(p, a.out_length, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			if (has_failed())
				break;
		}
		munmap(q, in_front);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect_eq(free_block(fd, mine.out_handle), 0);
		expect(wait_free(fd, region / 2, 20));
	}
	munmap(room, region - UNIT);
	fence_down();
}

static volatile bool churn_on;

/* Takes and frees the one node of 8 units that is free. */
static void *churn(void *arg)
{
	int own = device_open();

	(void)arg;
	while (churn_on) {
		struct buddy_alloc a;

		if (!alloc_block(own, 8 * UNIT, &a))
			free_block(own, a.out_handle);
	}
	close(own);
	return NULL;
}

/* What it was about to take, others take first; there always is enough else. */
TEST_F(device, in_a_crowd)
{
	enum { THREADS = 2 };
	uint64_t length = region / 2 - 6 * UNIT;
	pthread_t threads[THREADS];
	struct buddy_alloc a;
	double end = now() + 3;
	int failed = 0;

	fence_up();
	for (int i = 1; i < 8; i += 2)
		expect_eq(free_block(fd, fence[i].out_handle), 0);
	churn_on = true;
	for (int i = 0; i < THREADS; i++)
		expect(!pthread_create(&threads[i], NULL, churn, NULL));
	while (now() < end) {
		if (scatter_block(fd, length, &a))
			failed++;
		else
			expect_eq(free_block(fd, a.out_handle), 0);
	}
	expect_eq(failed, 0);
	churn_on = false;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 1; i < 8; i += 2) {
		char *p;

		expect_eq(alloc_block(fd, UNIT, &fence[i]), 0);
		p = map_block(fd, &fence[i]);
		mark_pages(p, UNIT, (uint64_t)i);
		munmap(p, UNIT);
	}
	fence_down();
}

static void *want_too_much(void *arg)
{
	int own = device_open();
	struct buddy_alloc a;

	(void)arg;
	while (churn_on)
		expect_eq(scatter_block(own, region, &a), -ENOMEM);
	close(own);
	return NULL;
}

/* Who asks for what cannot be had takes nothing from others meanwhile. */
TEST_F(device, too_much_harms_nobody)
{
	double end = now() + 2;
	struct buddy_alloc a;
	pthread_t thread;
	int failed = 0;

	fence_up();
	churn_on = true;
	expect(!pthread_create(&thread, NULL, want_too_much, NULL));
	while (now() < end) {
		if (alloc_block(fd, UNIT, &a))
			failed++;
		else
			expect_eq(free_block(fd, a.out_handle), 0);
	}
	expect_eq(failed, 0);
	churn_on = false;
	pthread_join(thread, NULL);
	fence_down();
}

/* Shared, and its owner's file closed: pieces have no owner that is gone. */
TEST_F(device, outlives_its_file)
{
	struct buddy_extent_entry e[UNITS];
	struct buddy_extents x = {
		.size = sizeof(x),
		.entries = (uintptr_t)e,
		.count = UNITS,
	};
	struct buddy_alloc a;
	int own = device_open(), keep = fd, files[2];
	char *p;

	fence_up();
	expect_eq(scatter_block(own, 4 * UNIT + PAGE, &a), 0);
	fd = own;
	files[0] = share_block(fd, BUDDY_IOC_SHARE, a.out_handle, 0);
	files[1] = share_block(fd, BUDDY_IOC_DMABUF, a.out_handle, 0);
	fd = keep;
	close(own);
	for (int i = 0; i < 2; i++) {
		p = mmap(NULL, a.out_length, PROT_READ | PROT_WRITE, MAP_SHARED,
			 files[i], 0);
		expect(p != MAP_FAILED);
		if (!i)
			mark_pages(p, a.out_length, 4);
		expect(are_marked(p, a.out_length, 4));
		munmap(p, a.out_length);
	}
	expect_eq(call(fd, BUDDY_IOC_EXTENTS, &x), 0);
	for (uint32_t i = 0; i < x.out_count; i++)
		expect(e[i].pid == 0 || e[i].pid == getpid());
	for (int i = 0; i < 2; i++)
		close(files[i]);
	expect(wait_free(fd, region / 2, 20));
	fence_down();
}

/* One piece is held: the others come back. */
TEST_F(device, one_piece_in_a_pipe)
{
	struct buddy_alloc a;
	struct iovec io;
	int pipes[2];
	char *p;

	expect(!pipe(pipes));
	fence_up();
	expect_eq(scatter_block(fd, region / 2, &a), 0);
	p = map_block(fd, &a);
	mark_pages(p, a.out_length, 4);
	io = (struct iovec){ p + UNIT + 5 * PAGE, PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	munmap(p, a.out_length);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region / 2 - UNIT, 20));
	expect_eq(get_stats(fd).out_quarantined, UNIT);
	close(pipes[0]);
	close(pipes[1]);
	fence_down();
}

TEST_F(device, sigkill)
{
	fence_up();
	for (int round = 0; round < 10; round++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			int own = device_open();

			for (;;) {
				struct buddy_alloc a;
				char *p;

				if (scatter_block(own, (1 + rnd() % 2500) * PAGE, &a))
					continue;
				p = map_block(own, &a);
				p[a.out_length - 1] = 1;
				munmap(p, a.out_length);
				free_block(own, a.out_handle);
			}
		}
		usleep(20000 + 7000 * (unsigned int)round);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		expect(WIFSIGNALED(status));
	}
	expect(wait_free(fd, region / 2, 20));
	fence_down();
}

TEST_F(device, random_blocks)
{
	enum { BLOCKS = 20 };
	struct buddy_alloc a[BLOCKS] = { 0 };
	char *p[BLOCKS];
	uint64_t used = 0, many = 0;

	seed = 4242;
	for (int round = 0; round < 400 && !has_failed(); round++) {
		uint32_t i = (uint32_t)(rnd() % BLOCKS);
		uint64_t length = (1 + rnd() % (rnd() % 2 ? 40 : 4000)) * PAGE;

		if (!a[i].out_length) {
			if (scatter_block(fd, length, &a[i])) {
				a[i] = (struct buddy_alloc){ 0 };
				continue;
			}
			used += length;
			many += !contiguous(a[i].out_handle);
			p[i] = map_block(fd, &a[i]);
			expect(is_zero(p[i], length));
			mark_pages(p[i], length, a[i].out_offset);
		} else {
			used -= a[i].out_length;
			expect(are_marked(p[i], a[i].out_length, a[i].out_offset));
			munmap(p[i], a[i].out_length);
			expect_eq(free_block(fd, a[i].out_handle), 0);
			a[i] = (struct buddy_alloc){ 0 };
		}
		expect_eq(get_stats(fd).out_used, used);
	}
	printf("# %llu of several pieces\n", (unsigned long long)many);
	expect(many > 10);
	for (int i = 0; i < BLOCKS; i++) {
		if (!a[i].out_length)
			continue;
		expect(are_marked(p[i], a[i].out_length, a[i].out_offset));
		munmap(p[i], a[i].out_length);
		expect_eq(free_block(fd, a[i].out_handle), 0);
	}
	expect(wait_free(fd, region, 20));
}

TEST_HARNESS_MAIN
