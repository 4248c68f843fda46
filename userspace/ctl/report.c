// SPDX-License-Identifier: MIT
/*
 * report.c - buddyctl info and stats, for people, as JSON, and for Prometheus.
 *
 * Each report is a list of named numbers, printed by one of three printers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buddyctl.h"
#include "core/buddy_size.h"

enum unit { NUMBER, COUNTER, BYTES, PERMILLE };

struct figure {
	const char *key;	/* JSON */
	const char *label;	/* people */
	enum unit unit;
	int64_t value;
};

const char *ctl_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	static char texts[8][32];
	static int next;
	char *text = texts[next++ % 8];
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, sizeof(texts[0]), "%.*f %s",
		 unit && value < 100 && value != (double)(int)value, value,
		 units[unit]);
	return text;
}

bool ctl_parse_bytes(const char *text, uint64_t base, uint64_t *bytes)
{
	return !buddy_size_parse(text, base, bytes) && *bytes;
}

int ctl_failed(const char *what, int error)
{
	fprintf(stderr, "buddyctl: %s: %s\n", what, strerror(error < 0 ? -error : error));
	return CTL_SAID + 1;
}

int ctl_refused(void)
{
	fprintf(stderr, "buddyctl: %s\n", buddy_error());
	return CTL_SAID + 1;
}

double ctl_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_text(const struct figure *figures, int count)
{
	for (int i = 0; i < count; i++) {
		const struct figure *f = &figures[i];

		if (f->unit == BYTES)
			printf("%-16s %12s  %20" PRId64 " bytes\n", f->label,
			       ctl_bytes((uint64_t)f->value), f->value);
		else if (f->unit == PERMILLE)
			printf("%-16s %12.1f %%\n", f->label,
			       (double)f->value / 10);
		else
			printf("%-16s %12" PRId64 "\n", f->label, f->value);
	}
}

static void print_json(const struct figure *figures, int count)
{
	for (int i = 0; i < count; i++)
		printf(",\n  \"%s\": %" PRId64, figures[i].key, figures[i].value);
}

int ctl_utf8(const char *text)
{
	/* of two to four bytes; the second is within limits, so that one way only leads to each */
	const unsigned char *c = (const unsigned char *)text;
	int length = *c >= 0xf0 ? 4 : *c >= 0xe0 ? 3 : 2;

	if (*c < 0x80)
		return 1;
	if (*c < 0xc2 || *c > 0xf4 || (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) ||
	    (*c == 0xf0 && c[1] < 0x90) || (*c == 0xf4 && c[1] > 0x8f))
		return 0;
	for (int i = 1; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* JSON knows \u00XX for what cannot be seen; the labels of Prometheus know \n alone. */
static void print_quoted(const char *text, bool json)
{
	putchar('"');
	for (const char *c = text; *c;) {
		int length = ctl_utf8(c);

		if (!length)
			fputs("\357\277\275", stdout);	/* U+FFFD, of no meaning */
		else if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (json && (unsigned char)*c < ' ')
			printf("\\u%04x", *c);
		else if (*c == '\n')
			fputs("\\n", stdout);
		else
			printf("%.*s", length, c);
		c += length ? length : 1;
	}
	putchar('"');
}

void ctl_print_string(const char *text)
{
	print_quoted(text, true);
}

/* The names and units that Prometheus recommends: bytes, ratios, _total for counters. */
static void print_prometheus(const struct ctl *ctl, const struct figure *figures, int count)
{
	for (int i = 0; i < count; i++) {
		const struct figure *f = &figures[i];
		bool counter = f->unit == COUNTER;
		const char *suffix = f->unit == BYTES ? "_bytes" :
				     f->unit == PERMILLE ? "_ratio" : counter ? "_total" : "";
		/* fragmentation_permille is a ratio here */
		int length = f->unit == PERMILLE ? (int)strcspn(f->key, "_") :
						   (int)strlen(f->key);

		printf("# HELP buddy_%.*s%s %s\n# TYPE buddy_%.*s%s %s\nbuddy_%.*s%s{device=",
		       length, f->key, suffix, f->label, length, f->key, suffix,
		       counter ? "counter" : "gauge", length, f->key, suffix);
		print_quoted(ctl->name, false);
		if (f->unit == PERMILLE)
			printf("} %g\n", (double)f->value / 1000);
		else
			printf("} %" PRId64 "\n", f->value);
	}
}

static void print_name(const struct ctl *ctl)
{
	if (ctl->format != CTL_JSON) {
		printf("%-16s %12s\n", "device", ctl->name);
		return;
	}
	printf("{\n  \"device\": ");
	ctl_print_string(ctl->name);
	printf(",\n  \"backend\": \"%s\"", buddy_dev_backend(ctl->dev));
}

static void print(const struct ctl *ctl, const struct figure *figures, int count)
{
	if (ctl->format == CTL_JSON)
		print_json(figures, count);
	else
		print_text(figures, count);
}

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int ctl_info(const struct ctl *ctl)
{
	struct buddy_info i;
	int err = buddy_dev_info(ctl->dev, &i);
	const struct figure figures[] = {
		{ "abi_version", "ABI version", NUMBER, i.out_abi_version },
		{ "region", "region", BYTES, (int64_t)i.out_region },
		{ "granule", "granule", BYTES, i.out_granule },
		{ "max_align", "max alignment", BYTES, (int64_t)i.out_max_align },
		{ "base_align", "region aligned", BYTES, (int64_t)i.out_base_align },
		{ "node", "NUMA node", NUMBER, i.out_node },
		{ "contiguous", "contiguous", NUMBER,
		  !!(i.out_features & BUDDY_FEATURE_CONTIGUOUS) },
		{ "huge", "huge mappings", NUMBER,
		  !!(i.out_features & BUDDY_FEATURE_HUGE) },
	};

	if (err)
		return err;
	print_name(ctl);
	print(ctl, figures, COUNT(figures));
	if (ctl->format == CTL_JSON)
		puts("\n}");
	return 0;
}

static void print_orders(const struct ctl *ctl, const struct buddy_stats *s,
			 uint64_t granule)
{
	int column = 16;

	if (ctl->format == CTL_JSON) {
		printf(",\n  \"free_blocks\": [");
		for (uint32_t i = 0; i < s->out_orders; i++)
			printf("%s%" PRIu64, i ? ", " : "",
			       (uint64_t)s->out_free_blocks[i]);
		puts("]\n}");
		return;
	}
	printf("free ranges     ");
	for (uint32_t i = 0; i < s->out_orders; i++) {
		if (!s->out_free_blocks[i])
			continue;
		if (column > 60)	/* some have no room in 80 */
			column = printf("\n%-16s", "") - 1;
		column += printf(" %" PRIu64 " x %s", (uint64_t)s->out_free_blocks[i],
				 ctl_bytes(granule << i));
	}
	puts("");
}

int ctl_stats(const struct ctl *ctl)
{
	struct buddy_stats s;
	struct buddy_info info;
	int err = buddy_dev_info(ctl->dev, &info);

	if (!err)
		err = buddy_dev_stats(ctl->dev, &s);
	if (err)
		return err;

	const struct figure figures[] = {
		{ "region", "region", BYTES, (int64_t)s.out_region },
		{ "free", "free", BYTES, (int64_t)s.out_free },
		{ "used", "used", BYTES, (int64_t)s.out_used },
		{ "private", "free, private", BYTES, (int64_t)s.out_private },
		{ "returning", "returning", BYTES, (int64_t)s.out_returning },
		{ "quarantined", "quarantined", BYTES, (int64_t)s.out_quarantined },
		{ "reserved", "reserved", BYTES, (int64_t)s.out_reserved },
		{ "largest", "largest free", BYTES, (int64_t)s.out_largest },
		{ "low_water", "least ever free", BYTES, (int64_t)s.out_low_water },
		{ "fragmentation_permille", "fragmentation", PERMILLE,
		  s.out_fragmentation },
		{ "blocks", "blocks", NUMBER, (int64_t)s.out_blocks },
		{ "allocs", "allocated ever", COUNTER, (int64_t)s.out_allocs },
		{ "frees", "released ever", COUNTER, (int64_t)s.out_frees },
		{ "fails", "found no memory", COUNTER, (int64_t)s.out_fails },
	};

	if (ctl->format == CTL_PROMETHEUS) {
		print_prometheus(ctl, figures, COUNT(figures));
		return 0;
	}
	print_name(ctl);
	print(ctl, figures, COUNT(figures));
	print_orders(ctl, &s, info.out_granule);
	return 0;
}
