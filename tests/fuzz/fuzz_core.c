// SPDX-License-Identifier: MIT
/*
 * fuzz_core.c - libFuzzer target: the input is a tree size and a sequence of
 * operations, each checked against naive.h and buddy_core_check(). The same input is
 * also the text of a size, checked against size_naive.h.
 *
 *   make fuzz-core [SECONDS=60]
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buddy_core.h"
#include "buddy_size.h"
#include "naive.h"
#include "size_naive.h"

#define MUST(cond)	do { if (!(cond)) abort(); } while (0)

struct block {
	u32 offset;
	u32 size;
};

static void free_one(struct buddy_core *core, struct naive *naive,
		     struct block *held, u32 *nr, u32 pick)
{
	struct block b = held[pick % *nr];

	MUST(buddy_core_free(core, b.offset, b.size) == 0);
	naive_free(naive, b.offset, b.size);
	held[pick % *nr] = held[--*nr];
}

static bool is_held(const struct block *held, u32 nr, u32 offset, u32 size)
{
	for (u32 i = 0; i < nr; i++)
		if (held[i].offset == offset && held[i].size == size)
			return true;
	return false;
}

static void parse_size(const uint8_t *data, size_t len)
{
	static const u64 bases[] = { 0, 1000, 961ull << 20, BUDDY_SIZE_MAX_BASE };
	char text[64] = { 0 };

	memcpy(text, data, len < sizeof(text) ? len : sizeof(text) - 1);
	for (u32 i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		uint64_t got = 0, want = 0;
		int wanted = naive_size(text, bases[i], &want);
		int err = buddy_size_parse(text, bases[i], &got);

		MUST(wanted == 1 || (err == wanted && (err || got == want)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static _Alignas(16) char mem[8192];
	struct naive naive = { 0 };
	struct buddy_core core;
	struct block held[NAIVE_MAX];
	u32 nr = 0;

	parse_size(data, len);
	if (!len)
		return 0;
	naive.granules = 1 + data[0] % NAIVE_MAX;
	MUST(buddy_core_bytes(naive.granules) <= sizeof(mem));
	MUST(buddy_core_init(&core, naive.granules, mem) == 0);
	for (size_t i = 1; i + 2 < len; i += 3) {
		u32 size = data[i + 1], other = data[i + 2];

		if (data[i] % 5 == 3 && size && other < naive.granules &&
		    size <= naive.granules - other) {
			bool want = naive_take(&naive, other, size);

			MUST(buddy_core_take(&core, other, size) ==
			     (want ? 0 : -EBUSY));
			if (want)
				held[nr++] = (struct block){ other, size };
		} else if (data[i] % 5 == 4 && nr) {
			struct block *b = &held[other % nr];
			bool want = size && size < b->size;

			MUST(buddy_core_divide(&core, b->offset, b->size, size) ==
			     (want ? 0 : -EINVAL));
			if (want) {
				held[nr++] = (struct block){ b->offset + size,
							     b->size - size };
				b->size = size;
			}
		} else if (data[i] % 5 == 0) {
			u32 align = other % 2 ? 1u << (other >> 1) % 9 : 0;
			long got = buddy_core_alloc(&core, size, align);

			if (!size) {
				MUST(got == -EINVAL);
				continue;
			}
			long want = naive_alloc(&naive, size, align);

			MUST(got == (want < 0 ? -ENOMEM : want));
			if (got >= 0)
				held[nr++] = (struct block){ (u32)got, size };
		} else if (data[i] % 5 == 1 && nr) {
			free_one(&core, &naive, held, &nr, other);
		} else if (!is_held(held, nr, other, size)) {
			MUST(buddy_core_free(&core, other, size) == -EINVAL);
		}
		MUST(core.free == naive_free_granules(&naive));
	}
	MUST(!buddy_core_check(&core));
	while (nr)
		free_one(&core, &naive, held, &nr, 0);
	MUST(core.free == core.granules && !buddy_core_check(&core));
	return 0;
}
