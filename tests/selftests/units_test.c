// SPDX-License-Identifier: MIT
/*
 * units_test.c - where blocks lie and how they are mapped: units of 2 MiB, what
 * shares one, tails, huge pages, faults, mmap at offset 0. Needs root and the module.
 */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/uio.h>

#include "ktest.h"

/* Small blocks of two files never share a unit of 2 MiB. */
TEST_F(device, small_blocks_of_two_files_share_no_unit)
{
	struct buddy_alloc a, b, c;
	int other = device_open();

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(alloc_block(other, PAGE, &b), 0);
	expect_eq(alloc_block(fd, PAGE, &c), 0);
	expect(a.out_offset / (2 * MIB) != b.out_offset / (2 * MIB));
	expect_eq(a.out_offset / (2 * MIB), c.out_offset / (2 * MIB));
	expect_eq(get_stats(fd).out_private, 4 * MIB - 3 * PAGE);
	expect_eq(get_stats(fd).out_used, 3 * PAGE);
	close(other);
	expect_eq(get_stats(fd).out_private, 2 * MIB - 2 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, c.out_handle), 0);
	expect_eq(get_stats(fd).out_private, 0);
}

/* The tail of a large block lies in a unit that then serves small ones. */
TEST_F(device, a_tail_serves_small_blocks)
{
	struct buddy_alloc big, small;
	char *p, *q;

	expect_eq(alloc_block(fd, 4 * MIB + 3 * PAGE, &big), 0);
	expect_eq(get_stats(fd).out_used, 4 * MIB + 3 * PAGE);
	expect_eq(alloc_block(fd, PAGE, &small), 0);
	/* out of the unit that the tail has split, for no other one was */
	expect_eq(get_stats(fd).out_private, 2 * MIB - 4 * PAGE);
	p = map_block(fd, &big);
	q = map_block(fd, &small);
	fill(p, 1, big.out_length);
	fill(q, 2, PAGE);
	munmap(p, big.out_length);
	expect_eq(free_block(fd, big.out_handle), 0);
	/* the neighbour in the unit stays, and stays as it is */
	expect(wait_free(fd, region - 2 * MIB, 5));
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(q[PAGE - 1], 2);
	munmap(q, PAGE);
	expect_eq(free_block(fd, small.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* A pin of one small block delays its neighbours in the unit, never itself. */
TEST_F(device, a_pin_delays_neighbours_and_harms_none)
{
	uint64_t frees = get_stats(fd).out_frees;
	struct buddy_alloc a[4];
	unsigned char *p[4];
	struct iovec io;
	int pipes[2];

	expect(!pipe(pipes));
	for (int i = 0; i < 4; i++) {
		expect_eq(alloc_block(fd, 32 * PAGE, &a[i]), 0);
		p[i] = map_block(fd, &a[i]);
		fill(p[i], i + 1, 32 * PAGE);
	}
	io = (struct iovec){ p[0], PAGE };
	expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	for (int i = 0; i < 3; i++) {
		munmap(p[i], 32 * PAGE);
		expect_eq(free_block(fd, a[i].out_handle), 0);
	}
	usleep(100000);
	/* the pinned one at least; the last is mapped and untouched by it all */
	expect(get_stats(fd).out_quarantined >= 32 * PAGE);
	/* all three are released, whatever of them is free already */
	expect_eq(get_stats(fd).out_frees, frees + 3);
	for (size_t i = 0; i < 32 * PAGE; i += 512)
		expect_eq(p[3][i], 4);
	fill(p[3], 9, 32 * PAGE);
	close(pipes[0]);
	close(pipes[1]);
	expect(wait_free(fd, region - 2 * MIB, 5));
	settled_stats(fd, 0);
	expect_eq(p[3][7], 9);
	munmap(p[3], 32 * PAGE);
	expect_eq(free_block(fd, a[3].out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/* No ioctl at all: mmap at offset 0, in several lengths at once. */
TEST_F(device, mmap_at_offset_0)
{
	static const uint64_t lengths[] = { PAGE, 3 * PAGE, 2 * MIB, 5 * MIB + PAGE };
	char *p[4];
	int own = device_open(), status;
	pid_t pid;

	for (int i = 0; i < 4; i++) {
		p[i] = mmap(NULL, lengths[i], PROT_READ | PROT_WRITE, MAP_SHARED,
			    own, 0);
		expect(p[i] != MAP_FAILED);
		expect(is_zero(p[i], lengths[i]));
		fill(p[i], i + 1, lengths[i]);
	}
	expect_eq(get_stats(fd).out_used, 7 * MIB + 5 * PAGE);
	expect_eq(get_stats(fd).out_blocks, 4);
	close(own);
	pid = fork();
	if (!pid) {
		p[3][5 * MIB] = 77;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect_eq(p[3][5 * MIB], 77);
	for (int i = 0; i < 4; i++) {
		expect_eq(p[i][lengths[i] - 1], i == 3 ? 4 : i + 1);
		expect_eq(p[i][0], i + 1);
	}
	/* in part, and then the rest */
	munmap(p[3] + MIB, MIB);
	expect_eq(get_stats(fd).out_blocks, 4);
	munmap(p[3], MIB);
	munmap(p[3] + 2 * MIB, lengths[3] - 2 * MIB);
	for (int i = 0; i < 3; i++)
		munmap(p[i], lengths[i]);
	expect(wait_free(fd, region, 5));
}

TEST_F(device, large_blocks_are_mapped_by_huge_pages)
{
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, 8 * MIB, &a), 0);
	p = map_block(fd, &a);
	fill(p, 1, 8 * MIB);
	expect_eq(smaps(p, "Rss"), 8192);
	expect_eq(smaps(p, "FilePmdMapped"), fits_huge(p) && is_huge(fd) ? 8192 : 0);
	munmap(p, 8 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
	if (!is_huge(fd))
		skip("this kernel gives no folios; checked that it says so");
}

TEST_F(device, one_fault_maps_2_mib)
{
	struct buddy_alloc a;
	unsigned char present[512];
	char *p;
	int count = 0;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	p = map_skewed(fd, &a, 0);
	expect(p != MAP_FAILED);
	p[MIB] = 1;
	expect(!mincore(p, 2 * MIB, present));
	for (int i = 0; i < 512; i++)
		count += present[i] & 1;
	expect_eq(count, 512);
	munmap(p, 2 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
}

/* Where no huge entry fits, faults are batched as on kernels without folios. */
TEST_F(device, map_fixed_at_a_misaligned_address)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 4 * MIB, &a);
	char *q = map_skewed(fd, &a, PAGE);

	expect(q != MAP_FAILED);
	expect(intact(q, 4 * MIB));
	q[4 * MIB - 1] = 1;
	expect_eq(p[4 * MIB - 1], 1);
	expect_eq(smaps(q, "Rss"), 4096);
	expect_eq(smaps(q, "FilePmdMapped"), 0);
	expect_eq(frame(q + MIB), frame(p + MIB));
	munmap(q, 4 * MIB);
	give_back(fd, p, &a);
}

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Faults of touching each page of a new mapping of the block, and then again. */
static long count_faults(const struct buddy_alloc *a, size_t skew, bool writing)
{
	volatile char *p = map_skewed(fd, a, skew);
	volatile char sink;
	long before, faults = -1;

	expect(p != MAP_FAILED);
	for (int again = 0; again < 2; again++) {
		before = minor_faults();
		for (size_t i = 0; i < a->out_length; i += PAGE) {
			if (writing)
				p[i] = 1;
			else
				sink = p[i];
		}
		if (again)
			expect_eq(minor_faults() - before, 0);
		else
			faults = minor_faults() - before;
	}
	(void)sink;
	munmap((void *)p, a->out_length);
	return faults;
}

/* What INFO says of huge pages makes a difference for a tail alone. */
TEST_F(device, faults_counted)
{
	bool huge = is_huge(fd);
	const struct {
		uint64_t length;
		long faults;
	} table[] = {
		{ PAGE, 1 }, { 3 * PAGE, 1 }, { MIB, 1 }, { 2 * MIB - PAGE, 1 },
		{ 2 * MIB, 1 }, { 4 * MIB, 2 }, { 16 * MIB, 8 },
		{ 4 * MIB + 3 * PAGE, huge ? 2 + 3 : 3 },
	};
	struct buddy_alloc part;
	struct buddy_alloc a;

	/* the code of these functions is there from now on */
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	count_faults(&a, 0, true);
	count_faults(&a, 0, false);
	expect_eq(free_block(fd, a.out_handle), 0);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		expect_eq(alloc_block(fd, table[i].length, &a), 0);
		expect_eq(count_faults(&a, 0, true), table[i].faults);
		expect_eq(count_faults(&a, 0, false), table[i].faults);
		expect_eq(free_block(fd, a.out_handle), 0);
	}
	/* no place for a huge page: a page beyond one, and the inside of one */
	expect_eq(alloc_block(fd, 4 * MIB, &a), 0);
	expect_eq(count_faults(&a, PAGE, true), 3);
	part = a;
	part.out_offset += MIB;
	part.out_length = MIB;
	expect_eq(count_faults(&part, MIB, true), 1);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

/*
 * So many mappings of a unit that dropping them all would keep others waiting: what
 * is freed there waits until there are fewer. Only where units are folios.
 */
TEST_F(device, very_many_mappings_of_a_unit)
{
	enum { MANY = 9000 };
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_alloc a, b;
	char *p, *room;

	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	expect_eq(alloc_block(fd, 2 * PAGE, &a), 0);
	expect_eq(alloc_block(fd, 20 * PAGE, &b), 0);
	room = mmap(NULL, 2 * MANY * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	munmap(room, 2 * MANY * PAGE);	/* a hole is not cut up at each mapping */
	for (size_t i = 0; i < MANY; i++)
		if (mmap(room + 2 * i * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
			 fd, (off_t)a.out_offset) == MAP_FAILED)
			expect(!"a mapping");
	p = map_block(fd, &b);
	fill(p, 1, b.out_length);
	munmap(p, b.out_length);
	expect_eq(free_block(fd, b.out_handle), 0);
	usleep(100000);
	expect_eq(get_stats(fd).out_quarantined,
		  info.out_features & BUDDY_FEATURE_HUGE ? b.out_length : 0);
	munmap(room, 2 * MANY * PAGE / 4);
	settled_stats(fd, 0);
	munmap(room, 2 * MANY * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

TEST_HARNESS_MAIN
