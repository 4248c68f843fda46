/* SPDX-License-Identifier: MIT */
/*
 * size_naive.h - the grammar of sizes once more, by a regular expression and 128 bits.
 */
#ifndef SIZE_NAIVE_H
#define SIZE_NAIVE_H

#include <errno.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>

#define SIZE_NAIVE_FRACTION	15	/* digits after the point, for 128 bits */

/* Return: as buddy_size_parse(), or 1: too many digits. */
static inline int naive_size(const char *text, uint64_t base, uint64_t *bytes)
{
	static regex_t grammar;
	static int compiled;
	unsigned __int128 value = 0, fraction = 0, ten = 1, unit = 1;
	regmatch_t at[5];
	char letter;

	if (!compiled++ &&
	    regcomp(&grammar, "^([0-9]+)(\\.([0-9]+))?([KMGT](I?B)?|B|%)?$",
		    REG_EXTENDED | REG_ICASE))
		abort();
	if (regexec(&grammar, text, 5, at, 0))
		return -EINVAL;
	letter = at[4].rm_so < 0 ? 'B' : text[at[4].rm_so];
	if (letter == '%')
		unit = base;
	else if (!strchr("Bb", letter))
		unit <<= 10 * (1 + (strchr("KkMmGgTt", letter) - "KkMmGgTt") / 2);
	if (!unit || (at[3].rm_so >= 0 && unit == 1))
		return -EINVAL;
	if (at[3].rm_eo - at[3].rm_so > SIZE_NAIVE_FRACTION)
		return 1;
	for (regoff_t i = at[1].rm_so; i < at[1].rm_eo && !(value >> 64); i++)
		value = value * 10 + (unsigned int)(text[i] - '0');
	for (regoff_t i = at[3].rm_so; i < at[3].rm_eo; i++, ten *= 10)
		fraction = fraction * 10 + (unsigned int)(text[i] - '0');
	if (value >> 64)
		return -ERANGE;
	value = value * unit + fraction * unit / ten;
	if (value >> 64)
		return -ERANGE;
	*bytes = (uint64_t)(letter == '%' ? value / 100 : value);
	return 0;
}

#endif /* SIZE_NAIVE_H */
