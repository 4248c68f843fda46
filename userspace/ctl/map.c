// SPDX-License-Identifier: MIT
/*
 * map.c - buddyctl map: the region as lines of cells, one character each, in colors on
 * a terminal; as JSON; as SVG.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "buddyctl.h"
#include "picture.h"

static void put_cell(const struct picture *p, const struct picture_cell *cell,
		     bool color)
{
	const struct picture_owner *owner = cell->most ? picture_owner(p, cell->pid) : NULL;

	if (color && owner)
		printf("\033[38;5;16;48;5;%um%c\033[0m", owner->color, picture_symbol(cell));
	else
		putchar(picture_symbol(cell));
}

static void put_owners(const struct picture *p, bool color)
{
	char name[16];

	for (int i = 0; i < p->owner_count; i++) {
		const struct picture_owner *o = &p->owners[i];

		picture_process(o->pid, name);
		if (color)
			printf("\033[48;5;%um  \033[0m ", o->color);
		printf("%7d %-15s %10s in %" PRIu64 " block%s, %s free to it\n", o->pid,
		       name, ctl_bytes(o->used), o->blocks, o->blocks == 1 ? "" : "s",
		       ctl_bytes(o->private_));
	}
}

static void put_text(const struct picture *p, const struct ctl *ctl, uint64_t columns)
{
	printf("%s: a cell is %s\n", ctl->name, ctl_bytes(p->cell_bytes));
	for (uint64_t i = 0; i < p->count; i += columns) {
		printf("%10s |", ctl_bytes(i * p->cell_bytes));
		for (uint64_t k = i; k < i + columns && k < p->count; k++)
			put_cell(p, &p->cells[k], ctl->color);
		puts("|");
	}
	puts(picture_legend);
	put_owners(p, ctl->color);
}

/* What is printed, and the name of the process that was last asked for. */
struct listing {
	bool begun;
	int32_t pid;
	char name[16];
};

static void put_extent(void *context, const struct buddy_extent_entry *e)
{
	struct listing *l = context;

	printf("%s\n  { \"offset\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"state\": \"%s\", \"pid\": %d", l->begun ? "," : "",
	       (uint64_t)e->offset, (uint64_t)e->length,
	       picture_state_names[picture_state(e->state)], e->pid);
	l->begun = true;
	if (e->pid) {
		if (e->pid != l->pid)
			picture_process(e->pid, l->name);
		l->pid = e->pid;
		fputs(", \"process\": ", stdout);
		ctl_print_string(l->name);
	}
	fputs(" }", stdout);
}

static int map_json(const struct ctl *ctl)
{
	struct listing listing = { 0 };
	int err;

	putchar('[');
	err = picture_extents(ctl->dev, put_extent, &listing);
	puts("\n]");
	return err;
}

/* Pixels of the SVG: of a line of cells, between two, of all its width. */
enum { LINE = 14, GAP = 3, WIDTH = 960, LEFT = 80, TEXT = 18 };

struct drawing {
	const struct picture *picture;
	uint64_t line_bytes;
};

static uint32_t fill_of(const struct picture *p, const struct buddy_extent_entry *e)
{
	static const uint32_t fills[PICTURE_STATES] = {
		[BUDDY_EXTENT_FREE] = 0xf2f2f2,
		[BUDDY_EXTENT_RETURNING] = 0xffd9a0,
		[BUDDY_EXTENT_QUARANTINED] = 0xd03030,
		[BUDDY_EXTENT_RESERVED] = 0x303030,
		[BUDDY_EXTENT_PRIVATE] = 0xd8dde2,
	};
	const struct picture_owner *owner = picture_owner(p, e->pid);

	if (picture_state(e->state) != BUDDY_EXTENT_USED)
		return fills[e->state];
	return owner ? picture_rgb(owner->color) : 0x949494;
}

/* An extent is a rectangle on each line that it has a part of. */
static void draw_extent(void *context, const struct buddy_extent_entry *e)
{
	const struct drawing *d = context;
	uint64_t at = e->offset, end = e->offset + e->length;

	while (at < end) {
		uint64_t line = at / d->line_bytes;
		uint64_t stop = (line + 1) * d->line_bytes < end ?
				(line + 1) * d->line_bytes : end;
		double scale = (double)WIDTH / (double)d->line_bytes;

		printf("<rect x=\"%.2f\" y=\"%" PRIu64 "\" width=\"%.2f\" height=\"%d\" "
		       "fill=\"#%06x\" stroke=\"#fff\" stroke-width=\"0.3\"><title>%s, %s at "
		       "%s, process %d</title></rect>\n",
		       LEFT + (double)(at - line * d->line_bytes) * scale,
		       TEXT + line * (LINE + GAP), (double)(stop - at) * scale, LINE,
		       fill_of(d->picture, e), picture_state_names[picture_state(e->state)],
		       ctl_bytes(e->length), ctl_bytes(e->offset), e->pid);
		at = stop;
	}
}

static void put_escaped(const char *text)
{
	while (*text) {
		int length = ctl_utf8(text);

		/* "]]>" may not be in a text; U+FFFE and U+FFFF, nor what cannot be seen */
		if (!length || (unsigned char)*text < ' ' || !strncmp(text, "\357\277\276", 3) ||
		    !strncmp(text, "\357\277\277", 3))
			putchar('?');
		else if (strchr("<&>", *text))
			fputs(*text == '<' ? "&lt;" : *text == '&' ? "&amp;" : "&gt;", stdout);
		else
			printf("%.*s", length, text);
		text += length ? length : 1;
	}
}

/* @more goes on with @text. */
static void draw_text(unsigned int x, uint64_t y, const char *text, const char *more)
{
	printf("<text x=\"%u\" y=\"%" PRIu64 "\">", x, y);
	put_escaped(text);
	put_escaped(more);
	puts("</text>");
}

static void draw_owners(const struct picture *p, uint64_t y)
{
	char name[16], text[128];

	for (int i = 0; i < p->owner_count; i++) {
		const struct picture_owner *o = &p->owners[i];

		picture_process(o->pid, name);
		snprintf(text, sizeof(text), "%d %s: %s in %" PRIu64 " block%s", o->pid, name,
			 ctl_bytes(o->used), o->blocks, o->blocks == 1 ? "" : "s");
		printf("<rect x=\"%d\" y=\"%" PRIu64 "\" width=\"12\" height=\"12\" fill=\"#%06x\"/>\n",
		       LEFT, y - 11, picture_rgb(o->color));
		draw_text(LEFT + TEXT, y, text, "");
		y += TEXT;
	}
}

static int map_svg(const struct ctl *ctl, const struct picture *p, uint64_t lines)
{
	struct drawing d = { p, (p->region + lines - 1) / lines };
	uint64_t end = TEXT + lines * (LINE + GAP) + TEXT;
	char length[40];
	int err;

	printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%" PRIu64
	       "\" font-family=\"sans-serif\" font-size=\"12\">\n"
	       "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
	       LEFT + WIDTH + 10, end + TEXT * (uint64_t)p->owner_count);
	snprintf(length, sizeof(length), ": %s", ctl_bytes(p->region));
	draw_text(4, 12, ctl->name, length);
	for (uint64_t i = 0; i < lines; i++)
		draw_text(4, TEXT + i * (LINE + GAP) + LINE - 3, ctl_bytes(i * d.line_bytes), "");
	err = picture_extents(ctl->dev, draw_extent, &d);
	draw_owners(p, end);
	puts("</svg>");
	return err;
}

enum { MAX_CELLS = 1 << 20 };	/* 64 MiB of them */

int ctl_map(const struct ctl *ctl)
{
	uint64_t columns = ctl->columns ? (uint64_t)ctl->columns : 64;
	uint64_t rows = ctl->rows ? (uint64_t)ctl->rows : 16;
	struct picture p;
	int err;

	if (ctl->format == CTL_JSON)
		return map_json(ctl);
	if (ctl->format == CTL_SVG)
		columns = 1;	/* its extents are drawn to scale */
	if (rows * columns > MAX_CELLS) {
		fprintf(stderr, "buddyctl: --rows times --columns: %" PRIu64 " cells are more than %d\n",
			rows * columns, MAX_CELLS);
		return CTL_SAID + 2;
	}
	err = picture_read(ctl->dev, rows * columns, &p);
	if (!err && ctl->format == CTL_SVG)
		err = map_svg(ctl, &p, rows);
	else if (!err)
		put_text(&p, ctl, columns);
	picture_free(&p);
	return err;
}
