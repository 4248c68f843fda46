// SPDX-License-Identifier: MIT
/*
 * machine.c - reads files of the machine below one root, and says nothing.
 */
#define _GNU_SOURCE
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "machine.h"

const char *machine_path(const struct machine *m, const char *format, ...)
{
	static char path[1024];
	size_t length = strlen(m->root);
	va_list args;

	snprintf(path, sizeof(path), "%s", m->root);
	if (length < sizeof(path)) {
		va_start(args, format);
		vsnprintf(path + length, sizeof(path) - length, format, args);
		va_end(args);
	}
	return path;
}

bool machine_has(const struct machine *m, const char *path)
{
	return !access(machine_path(m, "%s", path), F_OK);
}

static FILE *open_file(const struct machine *m, const char *path)
{
	return fopen(machine_path(m, "%s", path), "re");
}

bool machine_line(const struct machine *m, const char *path, char *line, int size)
{
	FILE *file = open_file(m, path);

	*line = 0;
	if (!file)
		return false;
	if (!fgets(line, size, file))
		*line = 0;
	line[strcspn(line, "\n")] = 0;
	fclose(file);
	return true;
}

int64_t machine_number(const struct machine *m, const char *path, const char *key)
{
	FILE *file = open_file(m, path);
	int64_t number = -1;
	char line[256];
	const char *at;

	while (file && number < 0 && fgets(line, sizeof(line), file)) {
		/* "Node 0 MemTotal: 4 kB" in the files of a node */
		at = strstr(line, key);
		if (at && (at == line || at[-1] == ' ') &&
		    sscanf(at + strlen(key), "%" SCNd64, &number) != 1)
			number = -1;
	}
	if (file)
		fclose(file);
	return number;
}

void machine_mount(const struct machine *m, const char *point, char *type, int size)
{
	FILE *file = open_file(m, "/proc/self/mountinfo");
	char line[4096], at[512];

	*type = 0;
	/* the last one at a place covers those before it */
	while (file && fgets(line, sizeof(line), file)) {
		const char *rest = strstr(line, " - ");

		if (rest && sscanf(line, "%*s %*s %*s %*s %511s", at) == 1 && !strcmp(at, point))
			snprintf(type, (size_t)size, "%.*s", (int)strcspn(rest + 3, " "), rest + 3);
	}
	if (file)
		fclose(file);
}

bool machine_option(const struct machine *m, const char *key, char *value, int size)
{
	char line[4096], *save, *word;

	machine_line(m, "/proc/cmdline", line, sizeof(line));
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!strncmp(word, key, strlen(key))) {
			snprintf(value, (size_t)size, "%s", word + strlen(key));
			return true;
		}
	}
	return false;
}

/*
 * The marks alone prove nothing: a machine that was made of a container's image has them,
 * too. But a container has no devtmpfs at /dev.
 */
static bool is_container(const struct machine *m)
{
	static const char *const marks[] = { "/.dockerenv", "/run/.containerenv",
					     "/run/host/container-manager", "/run/systemd/container" };
	char type[32];

	machine_mount(m, "/dev", type, sizeof(type));
	if (!*type || !strcmp(type, "devtmpfs"))
		return false;
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (machine_has(m, marks[i]))
			return true;
	/* others mark nothing, but do not have the kernel's files either */
	return access(machine_path(m, "/lib/modules/%s", m->release), F_OK);
}

void machine_init(struct machine *m, const char *root)
{
	unsigned int inside = 0, outside = 0, count = 0;
	struct utsname u;
	char line[128];

	*m = (struct machine){ .root = root };
	if (!machine_line(m, "/proc/sys/kernel/osrelease", m->release, sizeof(m->release))) {
		uname(&u);
		snprintf(m->release, sizeof(m->release), "%s", u.release);
	}
	if (machine_line(m, "/proc/self/uid_map", line, sizeof(line)))
		m->userns = sscanf(line, "%u %u %u", &inside, &outside, &count) != 3 || inside ||
			    outside || count != UINT32_MAX;
	m->contained = m->userns || is_container(m);
	machine_line(m, "/proc/sys/kernel/overflowgid", line, sizeof(line));
	m->overflow_gid = *line ? (gid_t)strtoul(line, NULL, 10) : 65534;
}

/*
 * Configuration files
 */

struct conf_file {
	char *path;
	int dir;
};

static const char *base_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int by_name(const void *a, const void *b)
{
	const struct conf_file *x = a, *y = b;
	int order = strcmp(base_of(x->path), base_of(y->path));

	return order ? order : x->dir - y->dir;
}

static void read_conf(const char *path, const struct machine *m,
		      void (*each)(void *context, const struct machine_line *line), void *context)
{
	struct machine_line line = { .path = path + strlen(m->root) };
	FILE *file = fopen(path, "re");
	size_t length = 0;
	char text[4096];

	line.text = text;
	while (file && fgets(text + length, (int)(sizeof(text) - length), file)) {
		line.number++;
		length = strcspn(text, "\n");
		text[length] = 0;
		if (length && length < sizeof(text) - 2 && text[length - 1] == '\\') {
			text[length - 1] = ' ';
			continue;
		}
		each(context, &line);
		length = 0;
	}
	if (length)
		each(context, &line);
	if (file)
		fclose(file);
}

void machine_conf(const struct machine *m, const char *const *dirs,
		  void (*each)(void *context, const struct machine_line *line), void *context)
{
	struct conf_file *files = NULL, *more;
	size_t count = 0;

	for (int dir = 0; dirs[dir]; dir++) {
		glob_t found;

		if (glob(machine_path(m, "%s/*.conf", dirs[dir]), 0, NULL, &found))
			continue;
		more = realloc(files, (count + found.gl_pathc) * sizeof(*files));
		files = more ? more : files;
		for (size_t i = 0; more && i < found.gl_pathc; i++)
			files[count++] = (struct conf_file){ strdup(found.gl_pathv[i]), dir };
		globfree(&found);
	}
	if (count)
		qsort(files, count, sizeof(*files), by_name);
	for (size_t i = 0; i < count; i++)
		if (!i || strcmp(base_of(files[i].path), base_of(files[i - 1].path)))
			read_conf(files[i].path, m, each, context);
	for (size_t i = 0; i < count; i++)
		free(files[i].path);
	free(files);
}
