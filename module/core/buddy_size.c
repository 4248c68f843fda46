// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * buddy_size.c - from the text of a size to bytes, without floating point.
 */
#include "buddy_size.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A letter in upper case. Other characters do not become letters. */
static char upper(char c)
{
	return (char)(c & ~0x20);
}

/**
 * unit_parse() - Parse the unit at the end of a size.
 * @text: what follows the digits
 * @base: bytes that are 100 %, or 0
 * @percent: true if the unit is %
 *
 * Return: bytes of one unit, for % of 100 units; 0 if this is no unit.
 */
static u64 unit_parse(const char *text, u64 base, bool *percent)
{
	static const char letters[] = "KMGT";
	u64 unit = 1;

	*percent = *text == '%';
	if (*percent)
		return text[1] ? 0 : base;
	for (u32 i = 0; letters[i]; i++) {
		if (upper(*text) != letters[i])
			continue;
		unit = 1ull << 10 * (i + 1);
		text++;
		if (upper(text[0]) == 'I' && upper(text[1]) == 'B')
			text++;
		break;
	}
	if (upper(*text) == 'B')
		text++;
	return *text ? 0 : unit;
}

/*
 * The part of @unit that the digits after the point are, rounded down. From the last
 * digit to the first: to round down at each step gives what rounding once would give.
 * Below 10 * @unit at any time.
 */
static u64 fraction_of(const char *digits, const char *end, u64 unit)
{
	u64 part = 0;

	while (end > digits)
		part = buddy_div((u64)(*--end - '0') * unit + part, 10);
	return part;
}

/* The number that the digits at @text are, times @unit. Return: false if 2^64 or more. */
static bool product_of(const char *text, u64 unit, u64 *product)
{
	u64 number = 0;

	for (; is_digit(*text); text++)
		if (check_mul_overflow(number, (u64)10, &number) ||
		    check_add_overflow(number, (u64)(*text - '0'), &number))
			return false;
	return !check_mul_overflow(number, unit, product);
}

/**
 * buddy_size_parse() - Parse the text of a size.
 * @text: a size, by the grammar in buddy_size.h
 * @base: bytes that are 100 %; 0 if there is nothing to take a percentage of
 * @bytes: the size, rounded down to whole bytes; may be 0
 *
 * Context: any.
 * Return: 0; -EINVAL (no size, or a percentage with @base 0); -ERANGE (2^64 bytes
 * or more, or @base above BUDDY_SIZE_MAX_BASE).
 */
int buddy_size_parse(const char *text, u64 base, u64 *bytes)
{
	const char *digits = NULL, *end = text;
	u64 unit, part = 0;
	bool percent;

	if (base > BUDDY_SIZE_MAX_BASE)
		return -ERANGE;
	if (!is_digit(*end))
		return -EINVAL;
	while (is_digit(*end))
		end++;
	if (*end == '.') {
		digits = ++end;
		while (is_digit(*end))
			end++;
		if (end == digits)
			return -EINVAL;
	}
	unit = unit_parse(end, base, &percent);
	if (!unit || (digits && unit == 1))
		return -EINVAL;
	if (digits)
		part = fraction_of(digits, end, unit);
	if (!product_of(text, unit, bytes) || check_add_overflow(*bytes, part, bytes))
		return -ERANGE;
	if (percent)
		*bytes = buddy_div(*bytes, 100);
	return 0;
}
