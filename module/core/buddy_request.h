/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_request.h - from the bytes that a user asks for to the granules that
 * the tree is asked for. One set of rules for the module and the library.
 */
#ifndef BUDDY_REQUEST_H
#define BUDDY_REQUEST_H

#include "buddy_port.h"

/**
 * struct buddy_request - what a user asks for, and its meaning in granules
 * @length: bytes
 * @align: bytes; 0 or a power of two
 * @max_align: the largest @align allowed, bytes, a power of two
 * @pow2: round @length up to a power of two
 * @scatter: need not be contiguous: neither with @pow2 nor with @align
 * @shift: a granule is 2^shift bytes
 * @limit: granules of the whole tree
 * @granules: out: length in granules
 * @granule_align: out: alignment in granules; 0 where none is asked for
 */
struct buddy_request {
	u64 length;
	u64 align;
	u64 max_align;
	bool pow2;
	bool scatter;
	u32 shift;
	u32 limit;
	u32 granules;
	u32 granule_align;
};

/**
 * buddy_request_check() - check a request and fill its out members
 * @r: the request
 *
 * Return: 0; -EINVAL (length 0, an alignment that is no power of two or above
 * max_align, scatter with what it does not go with); -EFBIG (more than the whole
 * tree, rounding included).
 */
static inline int buddy_request_check(struct buddy_request *r)
{
	u64 granules;

	if (!r->length || r->align > r->max_align || (r->align & (r->align - 1)))
		return -EINVAL;
	if (r->scatter && (r->pow2 || r->align))
		return -EINVAL;
	/* rounded up without overflow */
	granules = ((r->length - 1) >> r->shift) + 1;
	if (granules > r->limit)
		return -EFBIG;
	if (r->pow2) {
		granules = 1ull << buddy_log2(2 * granules - 1);
		if (granules > r->limit)
			return -EFBIG;
	}
	r->granules = (u32)granules;
	r->granule_align = (u32)(r->align >> r->shift);
	return 0;
}

#endif /* BUDDY_REQUEST_H */
