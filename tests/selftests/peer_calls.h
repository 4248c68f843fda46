/* SPDX-License-Identifier: MIT */
/*
 * peer_calls.h - the calls of /dev/buddy_peer, a device that holds memory of the
 * tests (tests/selftests/peer). Needs buddy_peer.ko loaded.
 */
#ifndef PEER_CALLS_H
#define PEER_CALLS_H

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

static inline int peer_fill(int peer, uint32_t through, uint64_t offset,
			    uint64_t length, uint64_t word)
{
	struct peer_range range = {
		.offset = offset,
		.length = length,
		.word = word,
		.through = through,
	};

	return call(peer, PEER_FILL, &range);
}

/* The number of words that differ, or a negative errno. */
static inline int64_t peer_check(int peer, uint32_t through, uint64_t offset,
				 uint64_t length, uint64_t word)
{
	struct peer_range range = {
		.offset = offset,
		.length = length,
		.word = word,
		.through = through,
	};

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

/* Waits until @bytes are in quarantine and nothing is on its way any more. */
static inline bool wait_quarantined(int fd, uint64_t bytes, double seconds)
{
	double end = now() + seconds;

	for (;;) {
		struct buddy_stats s = get_stats(fd);

		if (s.out_quarantined == bytes && !s.out_returning)
			return true;
		if (now() > end)
			return false;
		usleep(10000);
	}
}

#endif /* PEER_CALLS_H */
