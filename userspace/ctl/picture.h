/* SPDX-License-Identifier: MIT */
/*
 * picture.h - the region as cells, and who owns it: what map, its SVG and top draw.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <buddy_mem.h>

#define PICTURE_STATES	6	/* BUDDY_EXTENT_* */
struct picture_cell {
	uint64_t bytes[PICTURE_STATES];
	uint64_t most;		/* bytes of the block that has most of the cell */
	int32_t pid;		/* its owner */
};

struct picture_owner {
	int32_t pid;		/* 0: not in our pid namespace, or nobody any more */
	unsigned int color;	/* one of the 256 of xterm */
	uint64_t blocks, used, private_;
};

struct picture {
	uint64_t region;
	uint64_t cell_bytes;
	uint64_t count;
	struct picture_cell *cells;
	int owner_count;
	struct picture_owner *owners;	/* who has most first */
};

/*
 * Reads the region in @cells cells at most, each of whole granules.
 * Return: 0 or a negative errno; afterwards picture_free() in any case.
 */
int picture_read(struct buddy_dev *dev, uint64_t cells, struct picture *p);
void picture_free(struct picture *p);

/* Calls @each for every extent. Return: 0 or a negative errno. */
int picture_extents(struct buddy_dev *dev,
		    void (*each)(void *context, const struct buddy_extent_entry *e),
		    void *context);

/* A newer module may know more states. */
static inline uint32_t picture_state(uint32_t state)
{
	return state < PICTURE_STATES ? state : BUDDY_EXTENT_USED;
}

extern const char *const picture_state_names[PICTURE_STATES];

/* One character for a cell; the legend explains them in 80 columns. */
char picture_symbol(const struct picture_cell *cell);
extern const char picture_legend[];

const struct picture_owner *picture_owner(const struct picture *p, int32_t pid);

/* A color of xterm as 0xrrggbb. */
uint32_t picture_rgb(unsigned int color);

/* The name of a process, or "?"; 16 bytes at most, all printable. */
void picture_process(int32_t pid, char name[static 16]);

#endif /* PICTURE_H */
