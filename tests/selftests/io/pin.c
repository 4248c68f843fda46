// SPDX-License-Identifier: MIT
/*
 * pin.c - a row of the I/O matrix: a driver that pins memory for as long as it
 * likes, as those of RDMA and VFIO do. tests/selftests/pin_test.c has what else
 * becomes of such a block.
 */
#define _GNU_SOURCE
#include "io.h"

#include "../peer_calls.h"

#define PIN	PEER_THROUGH_PIN

int pin_longterm(const struct buffer *b)
{
	int peer = peer_open();
	int err = peer_pin(peer, b->p, b->length, PEER_WRITE | PEER_LONGTERM);

	if (err)
		return err;
	MUST(!peer_fill(peer, PIN, 0, b->length, 0x1234));
	MUST(!words_check(b->p, b->length, 0x1234));
	words_fill(b->p, b->length, 0x5678);
	MUST(!peer_check(peer, PIN, 0, b->length, 0x5678));
	MUST(!munmap(b->p, b->length));
	MUST(b->plain || !free_block(b->fd, b->handle));
	MUST(settled_stats(b->fd, b->length).out_quarantined == b->length);
	MUST(!peer_check(peer, PIN, 0, b->length, 0x5678));
	MUST(!peer_unpin(peer));
	return 0;
}
