/* SPDX-License-Identifier: MIT */
/*
 * size_cases.h - the grammar of sizes, a row for each of its rules.
 */
#ifndef SIZE_CASES_H
#define SIZE_CASES_H

#include "buddy_size.h"

struct size_row {
	const char *text;
	u64 base;
	int error;
	u64 bytes;
};

static const struct size_row size_rows[] = {
	/* bytes */
	{ "0", 0, 0, 0 },
	{ "1", 0, 0, 1 },
	{ "4096", 0, 0, 4096 },
	{ "007", 0, 0, 7 },
	{ "4B", 0, 0, 4 },
	{ "4b", 0, 0, 4 },
	{ "18446744073709551615", 0, 0, ~0ull },
	/* units */
	{ "3K", 0, 0, 3ull << 10 },
	{ "3M", 0, 0, 3ull << 20 },
	{ "3G", 0, 0, 3ull << 30 },
	{ "3T", 0, 0, 3ull << 40 },
	{ "64m", 0, 0, 64ull << 20 },
	{ "64MB", 0, 0, 64ull << 20 },
	{ "64MiB", 0, 0, 64ull << 20 },
	{ "64mib", 0, 0, 64ull << 20 },
	{ "16777215T", 0, 0, 16777215ull << 40 },
	/* decimals, rounded down */
	{ "1.5G", 0, 0, 3ull << 29 },
	{ "0.5K", 0, 0, 512 },
	{ "1.5KiB", 0, 0, 1536 },
	{ "2.0M", 0, 0, 2ull << 20 },
	{ "0.1K", 0, 0, 102 },
	{ "0.0009K", 0, 0, 0 },
	{ "0.0009765625K", 0, 0, 1 },
	{ "0.00097656249999999999999999999999999999K", 0, 0, 0 },
	{ "0.999999999999999999999999999999999999999T", 0, 0, (1ull << 40) - 1 },
	{ "16777215.999999999999999999999T", 0, 0, ~0ull },
	/* parts of a base */
	{ "25%", 1000, 0, 250 },
	{ "100%", 961ull << 20, 0, 961ull << 20 },
	{ "0%", 1000, 0, 0 },
	{ "12.5%", 1000, 0, 125 },
	{ "33.333333333333333333333%", 300, 0, 99 },
	{ "150%", 1000, 0, 1500 },
	{ "99.9%", BUDDY_SIZE_MAX_BASE / 16, 0, 71985536443890008ull },
	{ "1%", BUDDY_SIZE_MAX_BASE, 0, 11529215046068469ull },
	{ "64M", 1000, 0, 64ull << 20 },
	{ "25%", 0, -EINVAL, 0 },
	{ "25%%", 1000, -EINVAL, 0 },
	{ "25%B", 1000, -EINVAL, 0 },
	{ "25M%", 1000, -EINVAL, 0 },
	{ "1%", BUDDY_SIZE_MAX_BASE + 1, -ERANGE, 0 },
	{ "16.9%", BUDDY_SIZE_MAX_BASE - 1, -ERANGE, 0 },
	{ "1701%", BUDDY_SIZE_MAX_BASE, -ERANGE, 0 },
	/* a part of a byte */
	{ "1.5", 0, -EINVAL, 0 },
	{ "1.5B", 0, -EINVAL, 0 },
	{ "1.0", 0, -EINVAL, 0 },
	/* too large */
	{ "18446744073709551616", 0, -ERANGE, 0 },
	{ "99999999999999999999", 0, -ERANGE, 0 },
	{ "184467440737095516150", 0, -ERANGE, 0 },
	{ "16777216T", 0, -ERANGE, 0 },
	{ "99999999999999999999G", 0, -ERANGE, 0 },
	/* no size */
	{ "", 0, -EINVAL, 0 },
	{ "K", 0, -EINVAL, 0 },
	{ "%", 1000, -EINVAL, 0 },
	{ "x", 0, -EINVAL, 0 },
	{ "-1", 0, -EINVAL, 0 },
	{ "+1", 0, -EINVAL, 0 },
	{ " 4K", 0, -EINVAL, 0 },
	{ "4K ", 0, -EINVAL, 0 },
	{ "4 K", 0, -EINVAL, 0 },
	{ "4K\n", 0, -EINVAL, 0 },
	{ ".5K", 0, -EINVAL, 0 },
	{ "1.K", 0, -EINVAL, 0 },
	{ "1.2.3K", 0, -EINVAL, 0 },
	{ "1,5K", 0, -EINVAL, 0 },
	{ "0x10", 0, -EINVAL, 0 },
	{ "1e3", 0, -EINVAL, 0 },
	{ "4KM", 0, -EINVAL, 0 },
	{ "4KBB", 0, -EINVAL, 0 },
	{ "4BB", 0, -EINVAL, 0 },
	{ "4Ki", 0, -EINVAL, 0 },
	{ "4KiX", 0, -EINVAL, 0 },
	{ "4iB", 0, -EINVAL, 0 },
	{ "4Kib/s", 0, -EINVAL, 0 },
	{ "4P", 0, -EINVAL, 0 },
	{ "4E", 0, -EINVAL, 0 },
	{ "4\x0b", 0, -EINVAL, 0 },
	{ "4\xcb", 0, -EINVAL, 0 },
	{ "inf", 0, -EINVAL, 0 },
	{ "nan", 0, -EINVAL, 0 },
	{ "64M,32M", 0, -EINVAL, 0 },
};

static void sizes_as_text(void)
{
	for (u32 i = 0; i < sizeof(size_rows) / sizeof(size_rows[0]); i++) {
		const struct size_row *row = &size_rows[i];
		u64 bytes = 0;
		int err = buddy_size_parse(row->text, row->base, &bytes);

		if (err != row->error || (!err && bytes != row->bytes))
			printf("# row %u: \"%s\" of %llu\n", i, row->text,
			       (unsigned long long)row->base);
		expect_eq(err, row->error);
		if (!err)
			expect_eq(bytes, row->bytes);
	}
}

#endif /* SIZE_CASES_H */
