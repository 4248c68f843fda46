// SPDX-License-Identifier: MIT
/*
 * map.c - buddyctl map: the region as lines of cells, one character each.
 *
 * Reads the extents once and adds each to the cells that it covers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buddyctl.h"

#define STATES	6	/* BUDDY_EXTENT_* */
#define BATCH	256

struct cell {
	uint64_t bytes[STATES];
};

struct picture {
	struct cell *cells;
	uint64_t count;
	uint64_t cell_bytes;
};

static const char *const state_names[STATES] = {
	[BUDDY_EXTENT_FREE] = "free",
	[BUDDY_EXTENT_USED] = "used",
	[BUDDY_EXTENT_RETURNING] = "returning",
	[BUDDY_EXTENT_QUARANTINED] = "quarantined",
	[BUDDY_EXTENT_RESERVED] = "reserved",
	[BUDDY_EXTENT_PRIVATE] = "private",
};

/* A newer module may know more states. */
static uint32_t known(uint32_t state)
{
	return state < STATES ? state : BUDDY_EXTENT_USED;
}

static void paint(struct picture *p, const struct buddy_extent_entry *e)
{
	uint64_t at = e->offset, end = e->offset + e->length;

	while (at < end && at / p->cell_bytes < p->count) {
		uint64_t i = at / p->cell_bytes;
		uint64_t stop = (i + 1) * p->cell_bytes;

		if (stop > end)
			stop = end;
		p->cells[i].bytes[known(e->state)] += stop - at;
		at = stop;
	}
}

static char symbol(const struct cell *c)
{
	if (c->bytes[BUDDY_EXTENT_QUARANTINED])
		return '!';
	if (c->bytes[BUDDY_EXTENT_RETURNING])
		return '~';
	if (c->bytes[BUDDY_EXTENT_RESERVED])
		return 'x';
	if (!c->bytes[BUDDY_EXTENT_USED])
		return c->bytes[BUDDY_EXTENT_PRIVATE] ? '-' : '.';
	return c->bytes[BUDDY_EXTENT_FREE] || c->bytes[BUDDY_EXTENT_PRIVATE] ?
	       '+' : '#';
}

/* Calls @each for every extent. Return: 0 or a negative errno. */
static int for_extents(struct buddy_dev *dev,
		       void (*each)(struct picture *,
				    const struct buddy_extent_entry *),
		       struct picture *p)
{
	struct buddy_extent_entry entries[BATCH];
	uint64_t start = 0;
	int n;

	while ((n = buddy_dev_extents(dev, &start, entries, BATCH)) > 0)
		for (int i = 0; i < n; i++)
			each(p, &entries[i]);
	return n;
}

static void print_cells(const struct picture *p, const struct ctl *ctl,
			uint64_t columns)
{
	printf("%s: a cell is %s\n", ctl->name, ctl_bytes(p->cell_bytes));
	for (uint64_t i = 0; i < p->count; i += columns) {
		printf("%10s |", ctl_bytes(i * p->cell_bytes));
		for (uint64_t k = i; k < i + columns && k < p->count; k++)
			putchar(symbol(&p->cells[k]));
		puts("|");
	}
	puts(". free  - free to one file  # used  + used in part  ~ returning  ! quarantined  x reserved");
}

static void print_extent(struct picture *p, const struct buddy_extent_entry *e)
{
	printf("%s\n  { \"offset\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"state\": \"%s\", \"pid\": %d }", p->count++ ? "," : "",
	       (uint64_t)e->offset, (uint64_t)e->length,
	       state_names[known(e->state)], e->pid);
}

static int map_json(const struct ctl *ctl)
{
	struct picture p = { 0 };
	int err;

	putchar('[');
	err = for_extents(ctl->dev, print_extent, &p);
	puts("\n]");
	return err;
}

int ctl_map(const struct ctl *ctl)
{
	uint64_t columns = ctl->columns ? (uint64_t)ctl->columns : 64;
	uint64_t cells = (ctl->rows ? (uint64_t)ctl->rows : 16) * columns;
	struct picture p = { 0 };
	struct buddy_info info;
	int err;

	if (ctl->json)
		return map_json(ctl);
	err = buddy_dev_info(ctl->dev, &info);
	if (err)
		return err;
	/* whole granules a cell; a small region has fewer cells */
	p.cell_bytes = (info.out_region / info.out_granule + cells - 1) / cells *
		       info.out_granule;
	p.count = (info.out_region + p.cell_bytes - 1) / p.cell_bytes;
	p.cells = calloc(p.count, sizeof(*p.cells));
	if (!p.cells)
		return -ENOMEM;
	err = for_extents(ctl->dev, paint, &p);
	if (!err)
		print_cells(&p, ctl, columns);
	free(p.cells);
	return err;
}
