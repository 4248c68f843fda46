// SPDX-License-Identifier: MIT
/*
 * picture.c - reads the extents of a region once: into cells, and by owner.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buddyctl.h"
#include "picture.h"

#define BATCH	256

const char *const picture_state_names[PICTURE_STATES] = {
	[BUDDY_EXTENT_FREE] = "free",
	[BUDDY_EXTENT_USED] = "used",
	[BUDDY_EXTENT_RETURNING] = "returning",
	[BUDDY_EXTENT_QUARANTINED] = "quarantined",
	[BUDDY_EXTENT_RESERVED] = "reserved",
	[BUDDY_EXTENT_PRIVATE] = "private",
};

const char picture_legend[] =
	". free  - free to one  # used  + in part  ~ returning  ! quarantined  x reserved";

/* Of xterm's cube of 6 x 6 x 6 colors: black is readable on each, and each on black. */
static const uint8_t palette[] = { 32, 178, 133, 34, 203, 44, 141, 166, 107, 175, 67, 246 };

#define COLORS	(sizeof(palette) / sizeof(palette[0]))

int picture_extents(struct buddy_dev *dev,
		    void (*each)(void *context, const struct buddy_extent_entry *e),
		    void *context)
{
	struct buddy_extent_entry entries[BATCH];
	uint64_t start = 0;
	int n;

	while ((n = buddy_dev_extents(dev, &start, entries, BATCH)) > 0)
		for (int i = 0; i < n; i++)
			each(context, &entries[i]);
	return n;
}

static void paint(struct picture *p, const struct buddy_extent_entry *e)
{
	uint64_t at = e->offset, end = e->offset + e->length;

	while (at < end && at / p->cell_bytes < p->count) {
		struct picture_cell *cell = &p->cells[at / p->cell_bytes];
		uint64_t stop = (at / p->cell_bytes + 1) * p->cell_bytes;

		if (stop > end)
			stop = end;
		cell->bytes[picture_state(e->state)] += stop - at;
		if (e->state == BUDDY_EXTENT_USED && stop - at > cell->most) {
			cell->most = stop - at;
			cell->pid = e->pid;
		}
		at = stop;
	}
}

struct reading {
	struct picture *picture;
	int room;
	int err;
};

/* The entry of @pid, made if it is not there; NULL without memory. */
static struct picture_owner *owner_of(struct reading *r, int32_t pid)
{
	struct picture *p = r->picture;
	struct picture_owner *owners = p->owners;

	for (int i = 0; i < p->owner_count; i++)
		if (owners[i].pid == pid)
			return &owners[i];
	if (p->owner_count == r->room) {
		r->room = r->room ? 2 * r->room : 16;
		owners = realloc(owners, (size_t)r->room * sizeof(*owners));
		if (!owners)
			return NULL;
		p->owners = owners;
	}
	owners[p->owner_count] = (struct picture_owner){ .pid = pid };
	return &owners[p->owner_count++];
}

static void read_extent(void *context, const struct buddy_extent_entry *e)
{
	struct reading *r = context;
	struct picture_owner *owner;

	paint(r->picture, e);
	if (e->state != BUDDY_EXTENT_USED && e->state != BUDDY_EXTENT_PRIVATE)
		return;
	owner = owner_of(r, e->pid);
	if (!owner) {
		r->err = CTL_MEMORY;
		return;
	}
	if (e->state == BUDDY_EXTENT_PRIVATE) {
		owner->private_ += e->length;
	} else {
		owner->used += e->length;
		owner->blocks++;
	}
}

static int has_more(const void *a, const void *b)
{
	const struct picture_owner *x = a, *y = b;

	if (x->used != y->used)
		return x->used < y->used ? 1 : -1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static int is_older(const void *a, const void *b)
{
	const struct picture_owner *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/*
 * By pid, so that a process keeps its color; the next one where two would share it, which
 * must not depend on who has more just now. @p->owners is in order of pids.
 */
static void choose_colors(struct picture *p)
{
	bool taken[COLORS] = { false };

	for (int i = 0; i < p->owner_count; i++) {
		size_t k = (size_t)(uint32_t)p->owners[i].pid % COLORS;

		for (size_t tries = 0; taken[k] && tries < COLORS; tries++)
			k = (k + 1) % COLORS;
		taken[k] = true;
		p->owners[i].color = palette[k];
	}
}

int picture_read(struct buddy_dev *dev, uint64_t cells, struct picture *p)
{
	struct reading r = { .picture = p };
	struct buddy_info info;
	int err;

	*p = (struct picture){ 0 };
	err = buddy_dev_info(dev, &info);
	if (err)
		return err;
	/* whole granules a cell; a small region has fewer cells */
	p->region = info.out_region;
	p->cell_bytes = (info.out_region / info.out_granule + cells - 1) / cells *
			info.out_granule;
	p->count = (info.out_region + p->cell_bytes - 1) / p->cell_bytes;
	p->cells = calloc(p->count, sizeof(*p->cells));
	if (!p->cells)
		return CTL_MEMORY;
	err = picture_extents(dev, read_extent, &r);
	if (err || r.err)
		return err ? err : r.err;
	if (!p->owner_count)
		return 0;
	qsort(p->owners, (size_t)p->owner_count, sizeof(*p->owners), is_older);
	choose_colors(p);
	qsort(p->owners, (size_t)p->owner_count, sizeof(*p->owners), has_more);
	return 0;
}

void picture_free(struct picture *p)
{
	free(p->cells);
	free(p->owners);
	*p = (struct picture){ 0 };
}

char picture_symbol(const struct picture_cell *c)
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

const struct picture_owner *picture_owner(const struct picture *p, int32_t pid)
{
	for (int i = 0; i < p->owner_count; i++)
		if (p->owners[i].pid == pid)
			return &p->owners[i];
	return NULL;
}

uint32_t picture_rgb(unsigned int color)
{
	static const uint8_t levels[] = { 0, 95, 135, 175, 215, 255 };

	if (color >= 232)	/* the greys */
		return 0x010101 * (8 + 10 * (color - 232));
	color -= 16;
	return (uint32_t)levels[color / 36] << 16 |
	       (uint32_t)levels[color / 6 % 6] << 8 | levels[color % 6];
}

void picture_process(int32_t pid, char name[static 16])
{
	char path[32];
	FILE *file;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = pid > 0 ? fopen(path, "re") : NULL;
	if (file) {
		n = fread(name, 1, 15, file);
		fclose(file);
	}
	if (n && name[n - 1] == '\n')
		n--;
	if (!n)
		name[n++] = '?';
	name[n] = 0;
	/* a process names itself: nothing that a terminal would obey */
	for (size_t i = 0; i < n; i++)
		if (name[i] < ' ' || name[i] > '~')
			name[i] = '?';
}
