// SPDX-License-Identifier: MIT
/*
 * buddyctl.c - options, and the table of commands.
 *
 * Exit status: 0; 1 where the device refused; 2 for wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buddyctl.h"

static const struct command {
	const char *name;
	int (*run)(const struct ctl *ctl);
	const char *help;
} commands[] = {
	{ "info", ctl_info, "what the device is: size, granule, alignment, node" },
	{ "stats", ctl_stats, "what is free, used and on its way back; fragmentation" },
	{ "map", ctl_map, "a picture of the region" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void usage(FILE *to)
{
	fputs("usage: buddyctl [OPTION...] COMMAND\n\ncommands:\n", to);
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n"
	      "options:\n"
	      "  -d, --device PATH    device node (default: $BUDDY_DEVICE or /dev/buddy)\n"
	      "  -b, --backend NAME   device or process (default: $BUDDY_BACKEND or device).\n"
	      "                       process shows the empty region a program would get\n"
	      "  -j, --json           for programs\n"
	      "      --rows N         map: lines (default 16)\n"
	      "      --columns N      map: cells a line (default 64)\n"
	      "  -V, --version\n"
	      "  -h, --help\n"
	      "\n"
	      "exit status: 0; 1 the device refused; 2 wrong usage\n", to);
}

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "buddyctl: %s: %s; see buddyctl --help\n", what, value);
	return 2;
}

/* Lines or cells: 1 .. 4096, or -1. */
static int extent(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	return end == text || *end || value < 1 || value > 4096 ? -1 : (int)value;
}

/* auto is the device: another process's memfd cannot be seen. */
static bool parse_backend(const char *name, enum buddy_backend *backend)
{
	*backend = name && !strcmp(name, "process") ? BUDDY_BACKEND_PROCESS :
						      BUDDY_BACKEND_DEVICE;
	return !name || !*name || !strcmp(name, "process") ||
	       !strcmp(name, "device") || !strcmp(name, "auto");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run(const struct command *command, struct ctl *ctl,
	       enum buddy_backend backend, const char *path)
{
	int err;

	if (!path)
		path = getenv("BUDDY_DEVICE");
	if (!path || !*path)
		path = "/dev/buddy";
	ctl->name = backend == BUDDY_BACKEND_PROCESS ? "process" : path;
	err = buddy_dev_open(&ctl->dev, backend, path, 0);
	if (!err) {
		err = command->run(ctl);
		buddy_dev_close(ctl->dev);
	}
	if (!err && (fflush(stdout) || ferror(stdout)))
		err = -EIO;
	if (err) {
		fprintf(stderr, "buddyctl: %s: %s\n", ctl->name,
			buddy_strerror(err));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "backend", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ "rows", required_argument, NULL, 'r' },
		{ "columns", required_argument, NULL, 'c' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	enum buddy_backend backend;
	const struct command *command;
	const char *path = NULL, *name = getenv("BUDDY_BACKEND");
	struct ctl ctl = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "d:b:jVh", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			path = optarg;
			break;
		case 'b':
			name = optarg;
			break;
		case 'j':
			ctl.json = true;
			break;
		case 'r':
			ctl.rows = extent(optarg);
			if (ctl.rows < 0)
				return wrong("--rows wants 1 to 4096", optarg);
			break;
		case 'c':
			ctl.columns = extent(optarg);
			if (ctl.columns < 0)
				return wrong("--columns wants 1 to 4096", optarg);
			break;
		case 'V':
			puts("buddyctl " VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return 2;
	}
	if (!parse_backend(name, &backend))
		return wrong("unknown backend", name);
	command = find(argv[optind]);
	if (!command)
		return wrong("unknown command", argv[optind]);
	return run(command, &ctl, backend, path);
}
