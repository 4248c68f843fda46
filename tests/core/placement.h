/* SPDX-License-Identifier: MIT */
/*
 * placement.h - what linux/buddy.h promises of the place of a block, and no more. Bytes;
 * one oracle for the suites of the device, of the library, and in the kernel.
 */
#ifndef PLACEMENT_H
#define PLACEMENT_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef u64 placement_bytes;
#else
#include <stdbool.h>
#include <stdint.h>
typedef uint64_t placement_bytes;
#endif

#define PLACEMENT_UNIT		((placement_bytes)2 << 20)
/* Offsets for mmap() have the alignment of their block up to this. */
#define PLACEMENT_MOST		((placement_bytes)1 << 30)

/* What a block of @length bytes, rounded up, starts at a multiple of. */
static inline placement_bytes placement_align(placement_bytes length, placement_bytes align,
					      bool pow2)
{
	placement_bytes own = length & -length, most = pow2 ? PLACEMENT_MOST : PLACEMENT_UNIT;

	own = own < most ? own : most;
	return own > align ? own : align;
}

/* The whole units that it has at least, wherever it starts. */
static inline placement_bytes placement_units(placement_bytes length, placement_bytes align)
{
	placement_bytes units = length / PLACEMENT_UNIT;

	if (length % PLACEMENT_UNIT == 0 || align >= PLACEMENT_UNIT || !units)
		return units;
	return units - 1;
}

/* Is a block that is one range, as ALLOC gives it, where it is promised to be? */
static inline bool is_well_placed(placement_bytes offset, placement_bytes length,
				  placement_bytes align, bool pow2)
{
	placement_bytes first = (offset + PLACEMENT_UNIT - 1) / PLACEMENT_UNIT;
	placement_bytes end = (offset + length) / PLACEMENT_UNIT;

	return !(offset & (placement_align(length, align, pow2) - 1)) &&
	       (end > first ? end - first : 0) >= placement_units(length, align);
}

#endif /* PLACEMENT_H */
