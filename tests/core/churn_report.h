/* SPDX-License-Identifier: MIT */
/*
 * churn_report.h - main() of a program that runs a table of streams (churn.h): prints a
 * table or JSON, or holds each stream to its floors, as TAP.
 *
 *   [--test | --json] [--stream NAME] [--operations N] [--seed N]
 */
#ifndef CHURN_REPORT_H
#define CHURN_REPORT_H

#include <getopt.h>
#include <string.h>

#include "churn.h"

#define CHURN_SEED	88172645463325252ull
/* Does the backend make scattered blocks of one range? */
#ifndef CHURN_ONE_RANGE
#define CHURN_ONE_RANGE	0
#endif

#define CHURN_ANY	(-1)	/* of most_refused: not held to it */

/*
 * Of all requests of a stream, in percent: those that were refused although a place was
 * free to the owner. 100: any.
 */
#define CHURN_MOST_AVOIDABLE	0.05

/*
 * Of the refusals of a request without flags, in percent: those whose out_largest was the
 * longest block that the owner could have had.
 */
#define CHURN_LEAST_LARGEST	99.0

/*
 * Of all requests of a stream, in percent: small blocks for which a unit was split
 * although the split units of the owner had a place. 100: any.
 */
#define CHURN_MOST_SPLIT	0.05

/* What a stream is held to; in percent of the region, huge of the whole units. */
struct churn_floor {
	double average, first;
	long most_refused;
	double grown;		/* of the blocks that have free pages behind them */
	double huge;
};

struct churn_row {
	struct churn stream;
	struct churn_floor floor;
};

struct churn_options {
	bool test, json;
	const char *only;
	long operations;
	uint64_t from;
};

/* Return: false if the arguments are wrong; @o has the defaults of the program. */
static inline bool churn_options(int argc, char **argv, struct churn_options *o)
{
	static const struct option names[] = {
		{ "test", no_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "stream", required_argument, NULL, 's' },
		{ "operations", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 'S' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 't':
			o->test = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 's':
			o->only = optarg;
			break;
		case 'n':
			o->operations = strtol(optarg, NULL, 0);
			break;
		case 'S':
			o->from = strtoull(optarg, NULL, 0);
			break;
		default:
			return false;
		}
	}
	return optind == argc && o->operations > 0 && o->from;
}

static inline double churn_percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

static inline void churn_print_head(void)
{
	printf("%-34s %5s %8s %7s %9s %8s %6s %10s %6s %6s %6s %8s\n", "lengths, owners",
	       "load", "average", "first", "requests", "refused", "%", "avoidable", "split", "huge",
	       "grown", "largest");
}

static inline void churn_print_line(const struct churn *s, const struct churn_result *r)
{
	char first[16] = "-", huge[16] = "-", grown[16] = "-", largest[16] = "-";

	if (r->refused)
		snprintf(first, sizeof(first), "%.1f", 100 * r->first);
	if (r->units)
		snprintf(huge, sizeof(huge), "%.1f", churn_percent((double)r->huge, (double)r->units));
	if (r->behind)
		snprintf(grown, sizeof(grown), "%.1f", churn_percent((double)r->grown, (double)r->behind));
	if (r->refused && !s->flags)
		snprintf(largest, sizeof(largest), "%.1f",
			 churn_percent((double)r->largest, (double)r->refused));
	printf("%-34s %5.0f %8.1f %7s %9ld %8ld %6.2f %10ld %6ld %6s %6s %8s\n", s->name, 100 * s->load,
	       100 * r->average, first, r->requests, r->refused,
	       churn_percent((double)r->refused, (double)r->requests), r->avoidable, r->split, huge, grown,
	       largest);
	fflush(stdout);
}

static inline void churn_print_json(const struct churn *s, const struct churn_result *r, bool more)
{
	printf("%s{ \"stream\": \"%s\", \"load\": %.0f, \"average\": %.2f, \"first\": ",
	       more ? ",\n  " : "[ ", s->name, 100 * s->load, 100 * r->average);
	if (r->refused)
		printf("%.2f", 100 * r->first);
	else
		printf("null");
	printf(", \"requests\": %ld, \"refused\": %ld, \"avoidable\": %ld, \"split\": %ld, \"misplaced\": %ld, \"units\": %llu, \"huge\": %llu, \"behind\": %ld, \"grown\": %ld, \"largest\": %ld }",
	       r->requests, r->refused, r->avoidable, r->split, r->misplaced,
	       (unsigned long long)r->units, (unsigned long long)r->huge, r->behind, r->grown,
	       r->largest);
}

/* Says what a figure of a stream is to be, if it is not. */
static inline bool churn_held(bool is, const char *what, double figure, double bound)
{
	if (!is)
		printf("# %s: %.2f, and it is held to %.2f\n", what, figure, bound);
	return is;
}

static inline bool churn_passes(const struct churn *s, const struct churn_floor *floor,
				const struct churn_result *r)
{
	double average = 100 * r->average, first = 100 * r->first;
	double huge = churn_percent((double)r->huge, (double)r->units);
	double largest = churn_percent((double)r->largest, (double)r->refused);
	double grown = churn_percent((double)r->grown, (double)r->behind);
	double split = churn_percent((double)r->split, (double)r->requests);
	double avoidable = churn_percent((double)r->avoidable, (double)r->requests);
	bool ok = churn_held(average >= floor->average, "average", average, floor->average);

	ok &= churn_held(!r->refused || first >= floor->first, "first refusal at", first, floor->first);
	ok &= churn_held(!r->units || huge >= floor->huge, "mapped huge", huge, floor->huge);
	ok &= churn_held(!r->behind || grown >= floor->grown, "grown", grown, floor->grown);
	ok &= churn_held(floor->most_refused == CHURN_ANY || r->refused <= floor->most_refused,
			 "refused", (double)r->refused, (double)floor->most_refused);
	/* There a scattered block is one range: what could be gathered does not count. */
	if (CHURN_ONE_RANGE && s->flags & BUDDY_ALLOC_SCATTER)
		avoidable = 0;
	ok &= churn_held(avoidable <= CHURN_MOST_AVOIDABLE, "avoidable", avoidable, CHURN_MOST_AVOIDABLE);
	ok &= churn_held(split <= CHURN_MOST_SPLIT, "split without need", split, CHURN_MOST_SPLIT);
	ok &= churn_held(s->flags || !r->refused || largest >= CHURN_LEAST_LARGEST, "out_largest right",
			 largest, CHURN_LEAST_LARGEST);
	ok &= churn_held(!r->reclaiming, "refused while memory was reclaimed", (double)r->reclaiming, 0);
	ok &= churn_held(!r->misplaced, "misplaced", (double)r->misplaced, 0);
	ok &= churn_held(!r->differs, "other pages in use than were replied", r->differs, 0);
	return ok;
}

static inline bool churn_report(const struct churn_options *o, const struct churn_row *row,
				const struct churn_result *r, int number)
{
	bool ok = true;

	if (o->test) {
		ok = churn_passes(&row->stream, &row->floor, r);
		printf("%sok %d - %s, load %.0f %%: average %.1f, %ld of %ld refused\n", ok ? "" : "not ",
		       number, row->stream.name, 100 * row->stream.load, 100 * r->average,
		       r->refused, r->requests);
	} else if (o->json) {
		churn_print_json(&row->stream, r, number > 1);
	} else {
		churn_print_line(&row->stream, r);
	}
	fflush(stdout);
	return ok;
}

static inline bool churn_wants(const struct churn_options *o, const struct churn *stream)
{
	return !o->only || strstr(stream->name, o->only);
}

/* Return: the exit status. */
static inline int churn_table(const struct churn_options *o, const struct churn_row *rows, int count,
			      const struct churn_backend *(*backend)(const struct churn *stream))
{
	struct churn_result result;
	int number = 0, failed = 0, wanted = 0;

	for (int i = 0; i < count; i++)
		wanted += churn_wants(o, &rows[i].stream);
	if (o->test)
		printf("1..%d\n", wanted);
	else if (!o->json)
		churn_print_head();
	for (int i = 0; i < count; i++) {
		const struct churn_backend *b;

		if (!churn_wants(o, &rows[i].stream))
			continue;
		b = backend(&rows[i].stream);
		if (!b || !churn(&rows[i].stream, b, o->operations, o->from, &result)) {
			printf("Bail out! no region, or no memory for %s\n", rows[i].stream.name);
			return 1;
		}
		failed += !churn_report(o, &rows[i], &result, ++number);
	}
	if (o->json)
		printf(" ]\n");
	return failed ? 1 : 0;
}

#endif /* CHURN_REPORT_H */
