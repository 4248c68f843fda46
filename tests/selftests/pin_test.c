// SPDX-License-Identifier: MIT
/*
 * pin_test.c - a device that holds pages of a block: they are its own until it
 * lets go, whatever becomes of mapping, handle and process, and come back zero
 * soon after. Needs root, the module and buddy_peer.ko.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "ktest.h"
#include "peer_calls.h"

#define W1	0x1111111111111111ull
#define W2	0x2222222222222222ull
#define W3	0x3333333333333333ull

#define PIN	PEER_THROUGH_PIN

static void *map_prot(int file, const struct buddy_alloc *a, int prot)
{
	void *p = mmap(NULL, a->out_length, prot, MAP_SHARED, file,
		       (off_t)a->out_offset);

	expect(p != MAP_FAILED);
	return p;
}

/*
 * A block that a device has, freed: it is quarantined, others get all but it and
 * fill that, and the device still finds what it wrote.
 */
static void expect_held(int peer, const struct buddy_alloc *a, uint64_t word)
{
	settled_stats(fd, a->out_length);
	expect_eq(get_stats(fd).out_used, 0);
	take_the_rest(fd, region, a, W3);
	expect_eq(get_stats(fd).out_quarantined, a->out_length);
	expect_eq(peer_check(peer, PIN, 0, a->out_length, word), 0);
}

static void pin_one(uint64_t length, uint32_t flags)
{
	const bool write = flags & PEER_WRITE;
	int peer = peer_open();
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, length, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	words_fill(p, length, W1);
	if (!write) {
		munmap(p, length);
		p = map_prot(fd, &a, PROT_READ);
	}
	expect_eq(peer_pin(peer, p, length, flags), 0);
	expect_eq(peer_check(peer, PIN, 0, length, W1), 0);
	if (write) {
		expect_eq(peer_fill(peer, PIN, 0, length, W2), 0);
		expect_eq(words_check(p, length, W2), 0);
	}
	munmap(p, length);
	expect_eq(get_stats(fd).out_used, length);
	expect_eq(free_block(fd, a.out_handle), 0);
	/* the process has nothing left, the device goes on */
	expect_eq(peer_fill(peer, PIN, 0, length, W1), write ? 0 : -EACCES);
	expect_held(peer, &a, W1);
	expect_eq(peer_unpin(peer), 0);
	expect_back_soon(fd, region, &a);
	close(peer);
}

static void pin_each(uint32_t flags)
{
	for (size_t i = 0; i < LENGTHS; i++)
		pin_one(lengths[i], flags);
}

TEST_F(device, longterm_the_device_writes)
{
	pin_each(PEER_LONGTERM | PEER_WRITE);
}

TEST_F(device, longterm_the_device_reads)
{
	pin_each(PEER_LONGTERM);
}

TEST_F(device, short_the_device_writes)
{
	pin_each(PEER_WRITE);
}

TEST_F(device, short_the_device_reads)
{
	pin_each(0);
}

/* No byte of it was written by a processor. */
TEST_F(device, written_by_device_alone)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		int peer = peer_open();
		struct buddy_alloc a;
		char *p;

		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
		expect_eq(peer_pin(peer, p, a.out_length,
				   PEER_LONGTERM | PEER_WRITE), 0);
		munmap(p, a.out_length);
		expect_eq(peer_check(peer, PIN, 0, a.out_length, 0), 0);
		expect_eq(peer_fill(peer, PIN, 0, a.out_length, W2), 0);
		expect_eq(free_block(fd, a.out_handle), 0);
		close(peer);
		expect_back_soon(fd, region, &a);
	}
}

/* One page keeps its unit of the block, whichever that is, and nothing else. */
TEST_F(device, one_page_of_each_unit)
{
	const uint64_t length = 8 * MIB + PAGE;
	int peer = peer_open();
	struct buddy_alloc a;
	char *p;

	for (uint64_t at = MIB; at < length; at += 2 * MIB) {
		expect_eq(alloc_block(fd, length, &a), 0);
		p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
		fill(p, FILLED, length);
		expect_eq(peer_pin(peer, p + at, PAGE, PEER_LONGTERM | PEER_WRITE), 0);
		munmap(p, length);
		expect_eq(free_block(fd, a.out_handle), 0);
		settled_stats(fd, 2 * MIB);
		expect_eq(get_stats(fd).out_private, 0);
		expect_eq(get_stats(fd).out_free, region - 2 * MIB);
		expect_eq(peer_fill(peer, PIN, 0, PAGE, W2), 0);
		expect_eq(peer_unpin(peer), 0);
		expect_back_soon(fd, region, &a);
	}
	close(peer);
}

/* Two blocks side by side in one pin; the device has both until the end. */
TEST_F(device, two_blocks_in_one_pin)
{
	int peer = peer_open();
	struct buddy_alloc a, b;
	char *p;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	expect_eq(alloc_block(fd, 3 * PAGE, &b), 0);
	p = mmap(NULL, 4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(mmap(p, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    fd, (off_t)a.out_offset) == p);
	expect(mmap(p + 2 * MIB, 3 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, fd, (off_t)b.out_offset) == p + 2 * MIB);
	expect_eq(peer_pin(peer, p, 2 * MIB + 3 * PAGE, PEER_LONGTERM | PEER_WRITE),
		  0);
	expect_eq(peer_fill(peer, PIN, 0, 2 * MIB + 3 * PAGE, W1), 0);
	expect_eq(words_check(p, 2 * MIB + 3 * PAGE, W1), 0);
	munmap(p, 4 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(free_block(fd, b.out_handle), 0);
	settled_stats(fd, 2 * MIB + 3 * PAGE);
	expect_eq(peer_check(peer, PIN, 0, 2 * MIB + 3 * PAGE, W1), 0);
	close(peer);
	expect_back_soon(fd, region, &a);
	expect_zero_again(region, &b);
}

/* Runs in a child, which it never leaves: a block, pinned and written by @peer. */
static void pin_and_wait(int peer, uint64_t length, int ready)
{
	int own = device_open();
	struct buddy_alloc a;
	void *p;

	if (alloc_block(own, length, &a))
		_exit(2);
	p = map_block(own, &a);
	if (p == MAP_FAILED ||
	    peer_pin(peer, p, length, PEER_LONGTERM | PEER_WRITE) ||
	    peer_fill(peer, PIN, 0, length, W1))
		_exit(3);
	if (write(ready, &a, sizeof(a)) == sizeof(a))
		pause();
	_exit(4);
}

/* The device's file goes with the process, and the pin with the file. */
TEST_F(device, sigkill_with_pins)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		struct buddy_alloc a;
		int ready[2];
		pid_t pid;

		expect(!pipe(ready));
		pid = fork();
		if (!pid)
			pin_and_wait(peer_open(), lengths[i], ready[1]);
		/* a child that fails must not leave us waiting */
		close(ready[1]);
		expect_eq(read(ready[0], &a, sizeof(a)), sizeof(a));
		expect_eq(get_stats(fd).out_used, lengths[i]);
		kill_and_wait(pid);
		expect_back_soon(fd, region, &a);
		close(ready[0]);
	}
}

/* The device is another's: owner and process are gone, the pin is not. */
static void pinned_for_another(bool passed)
{
	int peer = passed ? -1 : peer_open(), pair[2], ready[2];
	struct buddy_alloc a;
	pid_t pid;

	expect(!pipe(ready));
	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		if (passed) {
			peer = peer_open();
			send_fd(pair[1], peer);
		}
		pin_and_wait(peer, 5 * MIB + PAGE, ready[1]);
	}
	close(pair[1]);
	close(ready[1]);
	if (passed)
		peer = receive_fd(pair[0]);
	expect(peer >= 0);
	expect_eq(read(ready[0], &a, sizeof(a)), sizeof(a));
	kill_and_wait(pid);
	expect_eq(peer_check(peer, PIN, 0, a.out_length, W1), 0);
	expect_eq(peer_fill(peer, PIN, 0, a.out_length, W2), 0);
	expect_held(peer, &a, W2);
	expect_eq(peer_unpin(peer), 0);
	expect_back_soon(fd, region, &a);
	close(peer);
	close(pair[0]);
	close(ready[0]);
}

TEST_F(device, inherited_device_outlives_the_owner)
{
	pinned_for_another(false);
}

TEST_F(device, passed_device_outlives_the_owner)
{
	pinned_for_another(true);
}

/* An allocation does not wait for the poll when the device has let go. */
TEST_F(device, an_allocation_finds_what_was_let_go)
{
	int peer = peer_open();
	struct buddy_alloc a, all;
	void *p;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, 2 * MIB, PEER_LONGTERM | PEER_WRITE), 0);
	munmap(p, 2 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(alloc_block(fd, region, &all), -ENOMEM);
	expect_eq(all.out_returning, 2 * MIB);
	usleep(700000);	/* the next poll is far away now */
	expect_eq(peer_unpin(peer), 0);
	expect_eq(alloc_block(fd, region, &all), 0);
	expect_eq(free_block(fd, all.out_handle), 0);
	expect(wait_free(fd, region, 5));
	close(peer);
}

/*
 * The owner gives the end back while the device has it all. The end is nobody's
 * until the device lets go, and zero when the block grows into it again.
 */
static void trimmed_to(uint64_t length)
{
	const uint64_t before = 5 * MIB + PAGE;
	int peer = peer_open();
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, before, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, before, PEER_LONGTERM | PEER_WRITE), 0);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, length), -EBUSY);
	munmap(p, before);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, length), 0);
	expect_eq(peer_fill(peer, PIN, 0, before, W2), 0);
	settled_stats(fd, before - length);
	expect_eq(get_stats(fd).out_used, length);
	take_the_rest(fd, region, &a, W3);
	expect_eq(peer_check(peer, PIN, 0, before, W2), 0);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, before), -ENOMEM);
	expect_eq(peer_unpin(peer), 0);
	settled_stats(fd, 0);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, before), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(words_check(p, length, W2), 0);
	expect_eq(words_check(p + length, before - length, 0), 0);
	munmap(p, before);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
	close(peer);
}

/* A page of a block that lies alone keeps no page of any other block. */
TEST_F(device, alone_a_pin_delays_no_other_block)
{
	const uint32_t flags = PEER_LONGTERM | PEER_WRITE;
	int peer = peer_open();
	struct buddy_alloc before, a, behind, tail;
	char *p;

	expect_eq(alloc_block(fd, 3 * PAGE, &before), 0);
	expect_eq(alone_block(fd, 3 * PAGE, &a), 0);
	expect_eq(alloc_block(fd, 3 * PAGE, &behind), 0);
	expect_eq(alloc_block(fd, 2 * MIB + PAGE, &tail), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, a.out_length, flags), 0);
	expect_eq(peer_fill(peer, PIN, 0, a.out_length, W1), 0);
	munmap(p, a.out_length);
	p = map_prot(fd, &behind, PROT_READ | PROT_WRITE);
	words_fill(p, behind.out_length, W3);
	munmap(p, behind.out_length);
	expect_eq(free_block(fd, before.out_handle), 0);
	expect_eq(free_block(fd, behind.out_handle), 0);
	expect_eq(free_block(fd, tail.out_handle), 0);
	expect(wait_free(fd, region - 2 * MIB, SOON));
	expect_eq(free_block(fd, a.out_handle), 0);
	/* its unit, of which the block had three pages */
	settled_stats(fd, 2 * MIB);
	expect_eq(get_stats(fd).out_free, region - 2 * MIB);
	expect_eq(peer_check(peer, PIN, 0, a.out_length, W1), 0);
	expect_eq(peer_unpin(peer), 0);
	expect_back_soon(fd, region, &a);
	close(peer);
}

/*
 * What a TRIM of a block that lies alone leaves in its last unit stays the block's, so
 * that a device writes there to nobody; it is zeroed with the block.
 */
TEST_F(device, alone_trimmed_while_pinned)
{
	int peer = peer_open();
	struct buddy_alloc a;
	char *p;

	expect_eq(alone_block(fd, 3 * MIB, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, 3 * MIB, PEER_LONGTERM | PEER_WRITE), 0);
	munmap(p, 3 * MIB);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, PAGE), 0);
	expect_eq(peer_fill(peer, PIN, 0, 3 * MIB, W2), 0);
	settled_stats(fd, 2 * MIB);
	expect_eq(get_stats(fd).out_used, 2 * MIB);
	/* none of it is anybody's, neither the rest of the first unit */
	take_the_rest(fd, region, &a, W3);
	expect_eq(peer_check(peer, PIN, 0, 3 * MIB, W2), 0);
	expect_eq(free_block(fd, a.out_handle), 0);
	settled_stats(fd, 4 * MIB);
	expect_eq(peer_unpin(peer), 0);
	expect(wait_free(fd, region, SOON));
	expect_all_zero(region);
	close(peer);
}

TEST_F(device, trimmed_while_pinned)
{
	static const uint64_t to[] = { PAGE, 2 * MIB, 3 * MIB, 5 * MIB };

	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++)
		trimmed_to(to[i]);
}

/* A page of one piece keeps that piece, and no other. */
TEST_F(device, a_scattered_block_one_page_pinned)
{
	int peer = peer_open(), count;
	uint64_t fence[FENCE_MAX];
	struct buddy_alloc a, b;
	char *p;

	count = fence_up(fd, fence);
	expect_eq(alloc_block(fd, 6 * MIB, &b), -ENOMEM);
	expect_eq(scatter_block(fd, 6 * MIB, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, 6 * MIB, PEER_LONGTERM | PEER_WRITE), 0);
	expect_eq(peer_fill(peer, PIN, 0, 6 * MIB, W1), 0);
	expect_eq(words_check(p, 6 * MIB, W1), 0);
	expect_eq(peer_unpin(peer), 0);
	expect_eq(peer_pin(peer, p + 3 * MIB, PAGE, PEER_LONGTERM | PEER_WRITE), 0);
	munmap(p, 6 * MIB);
	expect_eq(free_block(fd, a.out_handle), 0);
	settled_stats(fd, 2 * MIB);
	expect_eq(peer_fill(peer, PIN, 0, PAGE, W2), 0);
	fence_down(fd, fence, count);
	expect(wait_free(fd, region - 2 * MIB, 5));
	expect_eq(peer_check(peer, PIN, 0, PAGE, W2), 0);
	expect_eq(peer_unpin(peer), 0);
	expect(wait_free(fd, region, SOON));
	expect_all_zero(region);
	close(peer);
}

TEST_F(device, wrong_pins)
{
	const uint32_t flags = PEER_LONGTERM | PEER_WRITE;
	struct peer_pin pin = { .length = PAGE, .reserved = 1 };
	int peer = peer_open();
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, 4 * PAGE, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	pin.address = (uintptr_t)p;
	expect_eq(call(peer, PEER_PIN, &pin), -EINVAL);
	expect_eq(peer_pin(peer, p, PAGE, 4), -EINVAL);
	expect_eq(peer_pin(peer, p, PAGE, 1u << 31), -EINVAL);
	expect_eq(peer_pin(peer, p, 0, flags), -EINVAL);
	expect_eq(peer_pin(peer, p + 8, PAGE, flags), -EINVAL);
	expect_eq(peer_pin(peer, p, PAGE + 8, flags), -EINVAL);
	expect_eq(peer_pin(peer, p, PEER_MAX + PAGE, flags), -EINVAL);
	/* not the user's, wrapping around, nothing there */
	expect_eq(peer_pin(peer, (void *)0xffff888000000000, PAGE, flags), -EFAULT);
	expect_eq(peer_pin(peer, (void *)-PAGE, 2 * PAGE, flags), -EFAULT);
	expect_eq(peer_pin(peer, NULL, PAGE, flags), -EFAULT);
	/* a hole in the middle: nothing stays pinned */
	munmap(p + 2 * PAGE, PAGE);
	expect_eq(peer_pin(peer, p, 4 * PAGE, flags), -EFAULT);
	expect_eq(peer_unpin(peer), -ENXIO);
	/* no rights, or not these */
	expect(!mprotect(p, PAGE, PROT_NONE));
	expect(!mprotect(p + PAGE, PAGE, PROT_READ));
	expect_eq(peer_pin(peer, p, PAGE, 0), -EFAULT);
	expect_eq(peer_pin(peer, p, PAGE, PEER_LONGTERM), -EFAULT);
	expect_eq(peer_pin(peer, p + PAGE, PAGE, PEER_WRITE), -EFAULT);
	expect_eq(peer_pin(peer, p + PAGE, PAGE, flags), -EFAULT);
	expect_eq(peer_pin(peer, p + PAGE, PAGE, 0), 0);
	expect_eq(peer_unpin(peer), 0);
	munmap(p, 4 * PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 1));
	close(peer);
}

TEST_F(device, wrong_ranges)
{
	struct peer_range range = { .length = 8, .reserved = 1 };
	int peer = peer_open();
	struct stat node;
	struct buddy_alloc a;
	void *p;

	expect(!stat("/dev/buddy_peer", &node));
	expect_eq(node.st_mode & 07777, 0600);
	expect_eq(peer_unpin(peer), -ENXIO);
	expect_eq(peer_fill(peer, PIN, 0, 8, W1), -ENXIO);
	expect_eq(peer_check(peer, PIN, 0, 8, W1), -ENXIO);
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	p = map_prot(fd, &a, PROT_READ | PROT_WRITE);
	expect_eq(peer_pin(peer, p, PAGE, PEER_WRITE), 0);
	expect_eq(peer_pin(peer, p, PAGE, PEER_WRITE), -EBUSY);
	expect_eq(call(peer, PEER_FILL, &range), -EINVAL);
	expect_eq(peer_fill(peer, PIN, 4, 8, W1), -EINVAL);
	expect_eq(peer_fill(peer, PIN, 0, 4, W1), -EINVAL);
	expect_eq(peer_fill(peer, PIN, PAGE, 8, W1), -EINVAL);
	expect_eq(peer_fill(peer, PIN, 8, PAGE, W1), -EINVAL);
	expect_eq(peer_fill(peer, PIN, 8, -8ull, W1), -EINVAL);
	expect_eq(peer_fill(peer, -1u, 0, 8, W1), -EINVAL);
	expect_eq(call(peer, PEER_FILL, NULL), -EFAULT);
	expect_eq(call(peer, PEER_PIN, NULL), -EFAULT);
	expect_eq(call(peer, BUDDY_IOC_INFO, NULL), -ENOTTY);
	/* one word, at both ends, and nothing else */
	expect_eq(peer_fill(peer, PIN, PAGE - 8, 8, W1), 0);
	expect_eq(peer_check(peer, PIN, 0, PAGE, 0), 1);
	expect_eq(words_check(p, PAGE - 8, 0), 0);
	expect_eq(peer_check(peer, PIN, PAGE - 8, 8, W1), 0);
	munmap(p, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	close(peer);
	expect(wait_free(fd, region, SOON));
}

TEST_HARNESS_MAIN
