// SPDX-License-Identifier: MIT
/*
 * doctor_settings.c - modprobe.d and modules-load.d: is what they say what happens?
 *
 * The kernel loads a module whose parameters it does not know with a line in its log, and
 * with the defaults: that is why their names are looked at here.
 */
#define _GNU_SOURCE
#include <string.h>

#include "doctor.h"

struct settings {
	struct exam *e;
	uint64_t memory;	/* what a percentage is of */
	bool loads, blacklisted;
	char commented[256];	/* the file that has the line behind a # */
	char size[256];		/* the value of size= that the next load has; "" if none */
	char size_at[256];	/* and where it stands */
	char node[256], node_at[256];	/* the same of node= */
};

/* Module names with - and _ are the same. */
static bool is_same_name(const char *a, const char *b)
{
	for (; *a && (*a == *b || (strchr("-_", *a) && *b && strchr("-_", *b))); a++)
		b++;
	return !*a && !*b;
}

/* One that a reader would take for ours: buddy, buddy-mem-dkms. */
static bool is_like_ours(const char *name)
{
	return !strncmp(name, "buddy", 5) && !is_same_name(name, MACHINE_MODULE);
}

static bool is_parameter(const struct module *m, const char *name)
{
	for (int i = 0; i < m->parameter_count; i++)
		if (is_same_name(m->parameters[i], name))
			return true;
	return !m->parameter_count;	/* cannot be told */
}

static void list_parameters(const struct module *m, char *text, size_t size)
{
	size_t length = 0;

	*text = 0;
	for (int i = 0; i < m->parameter_count && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%s%s=", i ? ", " : "",
					   m->parameters[i]);
}

static int count_values(const char *list)
{
	int count = 1;

	for (; *list; list++)
		count += *list == ',';
	return count;
}

static void check_sizes(struct settings *s, const char *at, const char *value)
{
	char copy[256], *save, *item;
	uint64_t bytes;

	snprintf(copy, sizeof(copy), "%s", value);
	for (item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save))
		if (!ctl_parse_bytes(item, s->memory, &bytes) || bytes < 2 << 20)
			doctor_say(s->e, PARAMETER_VALUE, at,
				   "%s: size=%s: %s is no length of 2 MiB or more, and the module does not load|write it as 4G, or 4G,4G for two regions",
				   at, value, item);
	snprintf(s->size, sizeof(s->size), "%s", value);
	snprintf(s->size_at, sizeof(s->size_at), "%s", at);
}

/* @text is NAME=VALUE, or NAME. */
static void check_parameter(struct settings *s, const char *at, const char *text)
{
	char known[256], name[64];
	const char *value = strchrnul(text, '=');

	snprintf(name, sizeof(name), "%.*s", (int)(value - text), text);
	if (!is_parameter(&s->e->module, name)) {
		list_parameters(&s->e->module, known, sizeof(known));
		doctor_say(s->e, PARAMETER_UNKNOWN, at,
			   "%s: buddy_mem has no parameter %s=: the kernel ignores it, and loads what the others say|it has %s",
			   at, name, known);
	} else if (is_same_name(name, "size") && *value) {
		check_sizes(s, at, value + 1);
	} else if (is_same_name(name, "node") && *value) {
		snprintf(s->node, sizeof(s->node), "%s", value + 1);
		snprintf(s->node_at, sizeof(s->node_at), "%s", at);
	}
}

static void take_modprobe(void *context, const struct machine_line *line)
{
	struct settings *s = context;
	char at[300], *save, *word = strtok_r(line->text, " \t", &save), *name;

	name = word && *word != '#' ? strtok_r(NULL, " \t", &save) : NULL;
	if (!name)
		return;
	snprintf(at, sizeof(at), "%s:%d", line->path, line->number);
	s->blacklisted |= !strcmp(word, "blacklist") && is_same_name(name, MACHINE_MODULE);
	if (strcmp(word, "options"))
		return;
	if (is_like_ours(name))
		doctor_say(s->e, PARAMETER_OTHER_MODULE, at,
			   "%s: these are options of %s, which is another module|options buddy_mem ...", at, name);
	if (!is_same_name(name, MACHINE_MODULE))
		return;
	while ((word = strtok_r(NULL, " \t", &save)) && *word != '#')
		check_parameter(s, at, word);
}

/* modprobe takes options of the kernel's command line, too: buddy_mem.size=4G. */
static void take_command_line(struct settings *s)
{
	static const char *const keys[] = { "modules_load=", "rd.modules_load=" };
	char line[4096], list[256], *save, *word;

	machine_line(&s->e->machine, "/proc/cmdline", line, sizeof(line));
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *dot = strchr(word, '.');

		if (!dot)
			continue;
		*dot = 0;
		if (is_same_name(word, MACHINE_MODULE))
			check_parameter(s, "/proc/cmdline", dot + 1);
	}
	for (int i = 0; i < 2; i++)
		if (machine_option(&s->e->machine, keys[i], list, sizeof(list)))
			s->loads |= strstr(list, MACHINE_MODULE) != NULL;
}

/* What a size= of several elements comes to, as text; sizes may be spelled in many ways. */
static void spell(const struct settings *s, const char *sizes, char *text, size_t size)
{
	char copy[256], *save, *item;
	size_t length = 0;
	uint64_t bytes;

	*text = 0;
	snprintf(copy, sizeof(copy), "%s", sizes);
	for (item = strtok_r(copy, ",", &save); item && length < size; item = strtok_r(NULL, ",", &save))
		length += (size_t)snprintf(text + length, size - length, "%s ",
					   ctl_parse_bytes(item, s->memory, &bytes) ? ctl_bytes(bytes) : item);
}

static void check_effect(struct settings *s)
{
	int sizes = *s->size ? count_values(s->size) : 1, nodes = count_values(s->node);
	char loaded[256], now[256], next[256];

	if (*s->node && nodes != sizes)
		doctor_say(s->e, PARAMETER_VALUE, s->node_at,
			   "%s: size= has %d and node= %d values, and the module does not load|give as many",
			   s->node_at, sizes, nodes);
	machine_parameter(&s->e->machine, "size", loaded, sizeof(loaded));
	spell(s, loaded, now, sizeof(now));
	spell(s, s->size, next, sizeof(next));
	if (*now && *next && strcmp(now, next))
		doctor_say(s->e, PARAMETER_NOT_IN_EFFECT, s->size_at,
			   "loaded with size=%s; %s says size=%s|"
			   "it comes with the next load: modprobe -r buddy_mem && modprobe buddy_mem, or a reboot",
			   loaded, s->size_at, s->size);
}

static void take_load(void *context, const struct machine_line *line)
{
	struct settings *s = context;
	char *text = line->text + strspn(line->text, " \t");
	const bool comment = *text == '#' || *text == ';';
	char *end;
	bool alone;

	text += strspn(text, " \t#;");
	end = text + strcspn(text, " \t");
	alone = !end[strspn(end, " \t")];

	*end = 0;
	if (is_same_name(text, MACHINE_MODULE) && alone && !comment)
		s->loads = true;
	else if (is_same_name(text, MACHINE_MODULE) && alone)
		snprintf(s->commented, sizeof(s->commented), "%s", line->path);
	else if (!comment && (is_like_ours(text) || is_same_name(text, MACHINE_MODULE)))
		doctor_say(s->e, BOOT_NAME, line->path,
			   "%s:%d loads %s%s, not buddy_mem|a line of the name alone, buddy_mem; parameters are in modprobe.d",
			   line->path, line->number, text, alone ? "" : " and more words");
}

static void check_boot(struct settings *s)
{
	struct exam *e = s->e;

	if (s->loads && s->blacklisted)
		doctor_say(e, BOOT_BLACKLISTED, "",
			   "the module is loaded at boot, but a line \"blacklist buddy_mem\" in modprobe.d prevents that|take that line out");
	else if (s->loads)
		doctor_say(e, BOOT_LOADS, "", "the module is loaded at boot");
	else if (*s->commented)
		doctor_say(e, BOOT_COMMENTED, s->commented,
			   "the module is not loaded at boot: its line in %s is commented out|remove the # before buddy_mem there",
			   s->commented);
	else
		doctor_say(e, BOOT_MISSING, "/etc/modules-load.d",
			   "the module is not loaded at boot|as root: echo buddy_mem >/etc/modules-load.d/buddy.conf");
}

void doctor_settings(struct exam *e)
{
	static const char *const modprobe[] = { "/etc/modprobe.d", "/run/modprobe.d",
		"/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d", NULL };
	static const char *const load[] = { "/etc/modules-load.d", "/run/modules-load.d",
		"/usr/local/lib/modules-load.d", "/usr/lib/modules-load.d", "/lib/modules-load.d", NULL };
	int64_t total = machine_number(&e->machine, "/proc/meminfo", "MemTotal:");
	struct settings s = { .e = e, .memory = total > 0 ? (uint64_t)total << 10 : 0 };

	if (e->machine.contained)
		return;
	machine_conf(&e->machine, modprobe, take_modprobe, &s);
	machine_conf(&e->machine, load, take_load, &s);
	take_command_line(&s);
	check_effect(&s);
	if (*e->module.file)
		check_boot(&s);
}
