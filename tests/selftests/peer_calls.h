/* SPDX-License-Identifier: MIT */
/*
 * peer_calls.h - the calls of /dev/buddy_peer, a device that holds memory of the
 * tests (tests/selftests/peer). Needs buddy_peer.ko loaded.
 */
#ifndef PEER_CALLS_H
#define PEER_CALLS_H

#include <signal.h>

#include "harness.h"
#include "peer/peer.h"

static inline int peer_open(void)
{
	int peer = open("/dev/buddy_peer", O_RDWR | O_CLOEXEC);

	if (peer < 0) {
		printf("Bail out! /dev/buddy_peer: %s\n", strerror(errno));
		exit(1);
	}
	return peer;
}

/* 0 or a negative errno, as all below. */
static inline int peer_pin(int peer, const void *p, uint64_t length, uint32_t flags)
{
	struct peer_pin pin = {
		.address = (uintptr_t)p,
		.length = length,
		.flags = flags,
	};

	return call(peer, PEER_PIN, &pin);
}

static inline int peer_unpin(int peer)
{
	return call(peer, PEER_UNPIN, NULL);
}

static inline struct peer_range peer_range(uint32_t through, uint64_t offset,
					   uint64_t length, uint64_t word)
{
	return (struct peer_range){
		.offset = offset,
		.length = length,
		.word = word,
		.through = through,
	};
}

static inline int peer_fill(int peer, uint32_t through, uint64_t offset,
			    uint64_t length, uint64_t word)
{
	struct peer_range range = peer_range(through, offset, length, word);

	return call(peer, PEER_FILL, &range);
}

/* The number of words that differ, or a negative errno. */
static inline int64_t peer_check(int peer, uint32_t through, uint64_t offset,
				 uint64_t length, uint64_t word)
{
	struct peer_range range = peer_range(through, offset, length, word);

	return call(peer, PEER_CHECK, &range) ?: (int64_t)range.out_bad;
}

/* What a process sees; the same number of bad words for its own addresses. */
static inline int64_t words_check(const void *p, uint64_t length, uint64_t word)
{
	const uint64_t *words = p;
	int64_t bad = 0;

	for (uint64_t i = 0; i < length / 8; i++)
		bad += words[i] != word;
	return bad;
}

static inline void words_fill(void *p, uint64_t length, uint64_t word)
{
	uint64_t *words = p;

	for (uint64_t i = 0; i < length / 8; i++)
		words[i] = word;
}

/* The last poll is at most 1 s away; the rest is for a slow machine. */
#define SOON	3

/* A small block, one of whole units, and one with a tail. */
static const uint64_t lengths[] = { 3 * PAGE, 2 * MIB, 5 * MIB + PAGE };

#define LENGTHS	(sizeof(lengths) / sizeof(lengths[0]))

/* Nobody has anything: @length from @offset on is what a next owner finds there. */
static inline void expect_zero_at(uint64_t whole, uint64_t offset, uint64_t length)
{
	int other = device_open();
	struct buddy_alloc all;
	char *p;

	expect_eq(alloc_block(other, whole, &all), 0);
	p = mmap(NULL, whole, PROT_READ, MAP_SHARED, other, (off_t)all.out_offset);
	expect(p != MAP_FAILED);
	if (p != MAP_FAILED) {
		if (!offset)
			offset = all.out_offset;
		expect_eq(words_check(p + (offset - all.out_offset), length, 0), 0);
		munmap(p, whole);
	}
	free_block(other, all.out_handle);
	expect(wait_free(other, whole, 20));
	close(other);
}

static inline void expect_zero_again(uint64_t whole, const struct buddy_alloc *was)
{
	expect_zero_at(whole, was->out_offset, was->out_length);
}

static inline void expect_all_zero(uint64_t whole)
{
	expect_zero_at(whole, 0, whole);
}

/* It comes back soon, and zero. */
static inline void expect_back_soon(int node, uint64_t whole,
				    const struct buddy_alloc *a)
{
	expect(wait_free(node, whole, SOON));
	expect_eq(get_stats(node).out_quarantined, 0);
	expect_zero_again(whole, a);
}

/*
 * Blocks of @length from @file until there are no more, filled with @word; their
 * bytes. None of them is new with something in it, and none lies in @held.
 */
static inline uint64_t take_all(int file, uint64_t length,
				const struct buddy_alloc *held, uint64_t word)
{
	struct buddy_alloc a;
	uint64_t sum = 0;

	while (!alloc_block(file, length, &a)) {
		uint64_t *p = map_block(file, &a);

		sum += length;
		expect(a.out_offset + length <= held->out_offset ||
		       held->out_offset + held->out_length <= a.out_offset);
		expect(p != MAP_FAILED);
		if (p == MAP_FAILED)
			break;
		expect_eq(p[0], 0);
		expect_eq(p[length / 8 - 1], 0);
		words_fill(p, length, word);
		munmap(p, length);
	}
	return sum;
}

/* Others take, and fill, all of the region but the units of @held. */
static inline void take_the_rest(int node, uint64_t whole,
				 const struct buddy_alloc *held, uint64_t word)
{
	uint64_t units = (held->out_length + 2 * MIB - 1) & ~(2 * MIB - 1);
	int other = device_open();

	expect_eq(take_all(other, 2 * MIB, held, word), whole - units);
	expect_eq(take_all(other, PAGE, held, word), 0);
	close(other);
	expect(wait_free(node, whole - units, 20));
}

#define FENCE_MAX	64

/* Every second unit is in use: what is longer than one is in pieces. */
static inline int fence_up(int node, uint64_t *handles)
{
	struct buddy_alloc a;
	int count = 0, left = 0;

	while (count < FENCE_MAX && !alloc_block(node, 2 * MIB, &a))
		handles[count++] = a.out_handle;
	for (int i = 0; i < count; i++) {
		if (i % 2)
			handles[left++] = handles[i];
		else
			expect_eq(free_block(node, handles[i]), 0);
	}
	return left;
}

static inline void fence_down(int node, const uint64_t *handles, int count)
{
	for (int i = 0; i < count; i++)
		expect_eq(free_block(node, handles[i]), 0);
}

static inline void kill_and_wait(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#endif /* PEER_CALLS_H */
