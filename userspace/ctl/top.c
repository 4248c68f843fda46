// SPDX-License-Identifier: MIT
/*
 * top.c - buddyctl top: the region and its owners, live, in 80x24 and more.
 *
 * Each picture is read whole before anything of it is drawn. Keys: the table below.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "buddyctl.h"
#include "picture.h"

enum { HEADER = 5, OWNER_LINES = 6, LABEL = 11 };

/* A signal that ends us came; the terminal is to be put right first. */
static volatile sig_atomic_t ended;

struct top {
	const struct ctl *ctl;
	double seconds;		/* between two pictures */
	bool paused, help;
	bool resized;		/* the picture is of another shape */
	int first;		/* owner on the first line of the list */
	struct buddy_stats stats, before;
	double at, before_at;
	struct picture picture;
	bool color;		/* 256 of them */
};

static void slower(struct top *t)
{
	t->seconds = t->seconds * 2 > 3600 ? 3600 : t->seconds * 2;
}

static void faster(struct top *t)
{
	t->seconds = t->seconds / 2 < 0.1 ? 0.1 : t->seconds / 2;
}

static void pause_or_go(struct top *t)
{
	t->paused = !t->paused;
}

static void help_or_not(struct top *t)
{
	t->help = !t->help;
}

static void up(struct top *t)
{
	t->first -= t->first > 0;
}

static void down(struct top *t)
{
	t->first++;		/* draw_owners() knows how far that may go */
}

static const struct key {
	int key;
	void (*act)(struct top *t);	/* NULL: the end */
	const char *help;
} keys[] = {
	{ 'q', NULL, "q        leave" },
	{ ' ', pause_or_go, "space    pause, go on" },
	{ '+', slower, "+ -      slower, faster" },
	{ '-', faster, NULL },
	{ KEY_UP, up, "up down  other owners" },
	{ KEY_DOWN, down, NULL },
	{ 'k', up, NULL },
	{ 'j', down, NULL },
	{ '?', help_or_not, "?        this help" },
	{ 'h', help_or_not, NULL },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Allocations in a second since the picture before, or -1. */
static double rate(uint64_t now, uint64_t before, double seconds)
{
	return seconds > 0 ? (double)(now - before) / seconds : -1;
}

/* A line of text, cut where the screen ends: ncurses would go on in the next one. */
__attribute__((format(printf, 3, 4)))
static void put(int line, int column, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (line < LINES && column < COLS)
		mvaddnstr(line, column, text, COLS - column);
}

static void draw_header(const struct top *t)
{
	const struct buddy_stats *s = &t->stats;
	double seconds = t->before_at > 0 ? t->at - t->before_at : 0;

	put(0, 0, "%s  %s  every %.1f s%s   (? for help)", t->ctl->name,
	    ctl_bytes(s->out_region), t->seconds, t->paused ? ", paused" : "");
	put(1, 0, "used %s in %" PRIu64 " block%s  free %s  largest %s  private %s",
	    ctl_bytes(s->out_used), (uint64_t)s->out_blocks,
	    s->out_blocks == 1 ? "" : "s", ctl_bytes(s->out_free),
	    ctl_bytes(s->out_largest), ctl_bytes(s->out_private));
	put(2, 0, "returning %s  quarantined %s  reserved %s  fragmentation %.1f %%",
	    ctl_bytes(s->out_returning), ctl_bytes(s->out_quarantined),
	    ctl_bytes(s->out_reserved), s->out_fragmentation / 10.0);
	if (seconds > 0)
		put(3, 0, "%.0f allocations/s  %.0f frees/s  %" PRIu64 " found no memory",
		    rate(s->out_allocs, t->before.out_allocs, seconds),
		    rate(s->out_frees, t->before.out_frees, seconds), (uint64_t)s->out_fails);
}

static void draw_cell(const struct top *t, const struct picture_cell *cell, int line,
		      int column)
{
	const struct picture_owner *owner = cell->most ?
		picture_owner(&t->picture, cell->pid) : NULL;
	int pair = 0;

	/* pairs: 1 and on, as the colors come */
	if (t->color && owner)
		pair = 1 + (int)owner->color - 16;
	if (pair)
		attron(COLOR_PAIR(pair));
	mvaddch(line, column, (chtype)picture_symbol(cell));
	if (pair)
		attroff(COLOR_PAIR(pair));
}

static void draw_map(const struct top *t, int lines, int columns)
{
	const struct picture *p = &t->picture;

	for (int i = 0; i < lines; i++) {
		uint64_t at = (uint64_t)i * (uint64_t)columns;

		if (at >= p->count)
			break;
		put(HEADER + i, 0, "%*s ", LABEL - 1, ctl_bytes(at * p->cell_bytes));
		for (int k = 0; k < columns && at + (uint64_t)k < p->count; k++)
			draw_cell(t, &p->cells[at + (uint64_t)k], HEADER + i, LABEL + k);
	}
}

static void draw_owners(struct top *t, int line)
{
	int room = LINES - line - 1, last = t->picture.owner_count - (room > 1 ? room : 1);
	char name[16];

	/* owners come and go: no empty lines before all of them are shown */
	if (t->first > last)
		t->first = last > 0 ? last : 0;
	attron(A_REVERSE);
	put(line++, 0, "%7s %-15s %12s %9s %14s %*s", "PID", "OPENED BY", "USED",
	    "BLOCKS", "FREE TO IT", COLS > 62 ? COLS - 62 : 0, "");
	attroff(A_REVERSE);
	for (int i = t->first; i < t->picture.owner_count && line < LINES; i++, line++) {
		const struct picture_owner *o = &t->picture.owners[i];

		picture_process(o->pid, name);
		put(line, 0, "%7d %-15s %12s %9" PRIu64 " %14s", o->pid, name,
		    ctl_bytes(o->used), o->blocks, ctl_bytes(o->private_));
	}
}

static void draw_help(void)
{
	int line = HEADER;

	for (size_t i = 0; i < COUNT(keys); i++)
		if (keys[i].help)
			put(line++, 4, "%s", keys[i].help);
	put(++line, 0, "%s", picture_legend);
	put(++line, 4, "A color is an owner.");
}

/* How many lines and columns the map has now. */
static void shape(int *lines, int *columns)
{
	*columns = COLS > LABEL + 1 ? COLS - LABEL : 1;
	*lines = LINES - HEADER - OWNER_LINES;
	if (*lines < 1)
		*lines = 1;
}

/* Return: 0, a negative errno or CTL_MEMORY. */
static int look(struct top *t)
{
	int lines, columns, err;

	shape(&lines, &columns);
	picture_free(&t->picture);
	t->before = t->stats;
	t->before_at = t->at;
	err = buddy_dev_stats(t->ctl->dev, &t->stats);
	t->at = ctl_now();
	return err ? err : picture_read(t->ctl->dev, (uint64_t)lines * (uint64_t)columns,
					&t->picture);
}

static void draw(struct top *t)
{
	int lines, columns;

	shape(&lines, &columns);
	erase();
	draw_header(t);
	if (t->help) {
		draw_help();
	} else {
		draw_map(t, lines, columns);
		draw_owners(t, HEADER + lines);
	}
	refresh();
}

/* Return: false at the end. */
static bool press(struct top *t, int key)
{
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (keys[i].key != key)
			continue;
		if (!keys[i].act)
			return false;
		keys[i].act(t);
	}
	return true;
}

static void end(int number)
{
	ended = number;
}

/* A second one ends us at once, for a terminal that takes no more. */
static void catch_ends(sigset_t *ends)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	const struct sigaction action = { .sa_handler = end, .sa_flags = SA_RESETHAND };
	struct sigaction was;

	sigemptyset(ends);
	for (size_t i = 0; i < COUNT(numbers); i++) {
		if (sigaction(numbers[i], NULL, &was) || was.sa_handler == SIG_IGN)
			continue;
		sigaction(numbers[i], &action, NULL);
		sigaddset(ends, numbers[i]);
	}
	sigaddset(ends, SIGWINCH);
}

/*
 * Waits for a key for @seconds; for ever, if below 0. Return: it, or ERR where none
 * came or it is over: @ended is set also where the terminal is gone.
 */
static int wait_key(const sigset_t *ends, double seconds)
{
	struct timespec time = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	sigset_t before;

	sigprocmask(SIG_BLOCK, ends, &before);
	if (!ended && ppoll(&in, 1, seconds < 0 ? NULL : &time, &before) > 0 &&
	    in.revents & (POLLHUP | POLLERR | POLLNVAL))
		ended = SIGHUP;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ended ? ERR : getch();
}

/* Return: false, having said why, where the terminal is too simple. */
static bool start_screen(struct top *t)
{
	const char *term = getenv("TERM"), *move_to = NULL;
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (screen)
		move_to = tigetstr("cup");
	if (!move_to || move_to == (char *)-1) {
		if (screen)
			endwin();
		fprintf(stderr, "buddyctl: top cannot draw on this terminal: TERM is %s; see stats and map\n",
			term && *term ? term : "not set");
		return false;
	}
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	t->color = t->ctl->color && has_colors() && start_color() == OK && COLORS >= 256;
	use_default_colors();
	for (int i = 16; t->color && i < 256 && i - 15 < COLOR_PAIRS; i++)
		init_pair((short)(1 + i - 16), 16, (short)i);
	return true;
}

/* Return: 0, a negative errno or CTL_MEMORY. */
static int watch(struct top *t, const sigset_t *ends)
{
	double due = 0;

	while (!ended) {
		double wait = due - ctl_now();
		int key, err;

		if (t->resized || (!t->paused && wait <= 0)) {
			err = look(t);
			if (err)
				return err;
			t->resized = false;
			due = ctl_now() + t->seconds;
			wait = t->seconds;
		}
		draw(t);
		key = wait_key(ends, t->paused ? -1 : wait > 0 ? wait : 0);
		t->resized = key == KEY_RESIZE;
		if (key != ERR && !press(t, key))
			return 0;
	}
	return 0;
}

int ctl_top(const struct ctl *ctl)
{
	struct top t = { .ctl = ctl, .seconds = ctl->seconds > 0 ? ctl->seconds : 1 };
	sigset_t ends;
	int err;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		fputs("buddyctl: top wants a terminal; see stats and map\n", stderr);
		return CTL_SAID + 2;
	}
	setlocale(LC_CTYPE, "");
	catch_ends(&ends);
	if (!start_screen(&t))
		return CTL_SAID + 2;
	err = watch(&t, &ends);
	endwin();
	picture_free(&t.picture);
	return err;
}
