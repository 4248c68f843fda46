/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * buddy_size.h - the one grammar of sizes: parameters of the module, options of
 * buddyctl, environment variables of the libraries.
 *
 *   SIZE    = DIGITS [ "." DIGITS ] [ UNIT ]
 *   UNIT    = ( "K" | "M" | "G" | "T" ) [ "B" | "iB" ] | "B" | "%"
 *
 * The letters may be lower case. Each unit is 1024 times the one before it, with
 * or without the i: memory is not counted by the thousand. No unit means bytes, and
 * bytes have no fraction. No sign, no space, no exponent, no hexadecimal digits.
 */
#ifndef BUDDY_SIZE_H
#define BUDDY_SIZE_H

#include "buddy_port.h"

/* The largest base of a percentage, bytes. */
#define BUDDY_SIZE_MAX_BASE	(1ull << 60)

int buddy_size_parse(const char *text, u64 base, u64 *bytes);

#endif /* BUDDY_SIZE_H */
