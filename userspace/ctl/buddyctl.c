// SPDX-License-Identifier: MIT
/*
 * buddyctl.c - the table of commands, the table of options, and what leads from a
 * command line to a call of one with the other.
 *
 * Exit status: 0; 1 where the device refused or a file failed; 2 for wrong usage; that
 * of COMMAND, where one is run.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buddyctl.h"

/* Options that not every command has; those it has are in its row. */
enum {
	JSON = 1 << 0,
	PROMETHEUS = 1 << 1,
	SVG = 1 << 2,
	SHAPE = 1 << 3,		/* of the map */
	COLOR = 1 << 4,
	BLOCK = 1 << 5,		/* how it is allocated */
	SHARING = 1 << 6,
	READ_ONLY = 1 << 9,
	INTERVAL = 1 << 7,
	OUTPUT = 1 << 8,
	PLAN = 1 << 10,
};

static const struct command {
	const char *name;
	int (*run)(const struct ctl *ctl);
	int operands;		/* how many it needs */
	bool runs;		/* and, behind "--", a COMMAND */
	bool no_device;
	unsigned int options;
	const char *usage;
	const char *help;
} commands[] = {
	{ "info", ctl_info, 0, false, false, JSON, "",
	  "what the device is: size, granule, alignment, node" },
	{ "stats", ctl_stats, 0, false, false, JSON | PROMETHEUS, "",
	  "bytes free, used and being reclaimed; fragmentation" },
	{ "map", ctl_map, 0, false, false, JSON | SVG | SHAPE | COLOR, "",
	  "a picture of the region: which process owns which blocks" },
	{ "top", ctl_top, 0, false, false, INTERVAL, "",
	  "statistics and map, updated live; q ends it" },
	{ "alloc", ctl_alloc, 1, false, false, JSON | BLOCK, "LENGTH",
	  "allocate a block, say where and how fast, free it" },
	{ "hold", ctl_hold, 1, true, false, JSON | BLOCK | SHARING | READ_ONLY,
	  "LENGTH [-- COMMAND...]", "keep a block until COMMAND or a signal ends" },
	{ "share", ctl_share, 2, true, false, JSON | BLOCK | READ_ONLY,
	  "LENGTH SOCKET [-- COMMAND...]", "hold a block and share it at SOCKET" },
	{ "load", ctl_load, 1, true, false, JSON | BLOCK | SHARING | READ_ONLY,
	  "FILE [-- COMMAND...]", "hold a block with the contents of FILE" },
	{ "recv", ctl_recv, 1, true, true, JSON | OUTPUT,
	  "SOCKET [-- COMMAND...]", "get a block that another process shares" },
	{ "doctor", ctl_doctor, 0, false, true, JSON | PLAN, "",
	  "check module, settings, nodes, permissions and regions" },
	{ "bench", ctl_bench, 0, false, false, JSON, "",
	  "how long the calls take, by length" },
};

/* Those of every command have no `of`. */
static const struct option_row {
	struct option option;	/* its val is the short one, or above 255 */
	unsigned int of;
	const char *help;
} option_rows[] = {
	{ { "device", 1, NULL, 'd' }, 0,
	  "-d, --device PATH    device node (default: $BUDDY_DEVICE or /dev/buddy)" },
	{ { "backend", 1, NULL, 'b' }, 0,
	  "-b, --backend NAME   device or process (default: $BUDDY_BACKEND or device);\n"
	  "                       process: the region that this process alone would get" },
	{ { "json", 0, NULL, 'j' }, JSON, "-j, --json           for programs" },
	{ { "prometheus", 0, NULL, 0x100 }, PROMETHEUS,
	  "    --prometheus     for the text file collector of Prometheus" },
	{ { "svg", 0, NULL, 0x101 }, SVG, "    --svg            as an SVG image" },
	{ { "rows", 1, NULL, 0x102 }, SHAPE,
	  "    --rows N         lines (default 16)" },
	{ { "columns", 1, NULL, 0x103 }, SHAPE,
	  "    --columns N      cells a line (default 64)" },
	{ { "color", 1, NULL, 0x104 }, COLOR,
	  "    --color WHEN     always, never, auto (default: on a terminal)" },
	{ { "align", 1, NULL, 'a' }, BLOCK,
	  "-a, --align LENGTH   a power of two" },
	{ { "pow2", 0, NULL, 0x105 }, BLOCK,
	  "    --pow2           the whole power of two" },
	{ { "scatter", 0, NULL, 0x106 }, BLOCK,
	  "    --scatter        of several ranges, where there is no one range" },
	{ { "alone", 0, NULL, 0x109 }, BLOCK,
	  "    --alone          in whole units of 2 MiB, with no other block in these" },
	{ { "share", 1, NULL, 's' }, SHARING,
	  "-s, --share SOCKET   give the block to who connects to this socket" },
	{ { "read-only", 0, NULL, 'r' }, READ_ONLY,
	  "-r, --read-only      they may only read it" },
	{ { "interval", 1, NULL, 'n' }, INTERVAL,
	  "-n, --interval S     seconds between two pictures (default 1)" },
	{ { "output", 1, NULL, 'o' }, OUTPUT,
	  "-o, --output FILE    write its contents there (- is standard output)" },
	{ { "size", 1, NULL, 0x107 }, PLAN,
	  "    --size SIZE      print the line that loads the module with SIZE, as 8G or 50%" },
	{ { "root", 1, NULL, 0x108 }, PLAN, NULL },	/* for tests: a machine's files */
	{ { "version", 0, NULL, 'V' }, 0, "-V, --version" },
	{ { "help", 0, NULL, 'h' }, 0, "-h, --help           (of one command: buddyctl COMMAND -h)" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void usage_options(FILE *to, unsigned int of)
{
	for (size_t i = 0; i < COUNT(option_rows); i++)
		if (option_rows[i].help && (!option_rows[i].of || option_rows[i].of & of))
			fprintf(to, "  %s\n", option_rows[i].help);
}

static void usage(FILE *to)
{
	fputs("usage: buddyctl [OPTION...] COMMAND\n\ncommands:\n", to);
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(to, "  %-7s %s\n", commands[i].name, commands[i].help);
	fputs("\noptions of all commands:\n", to);
	usage_options(to, 0);
	fputs("\nLengths are bytes, or 64K, 512M, 1.5G, 2T; of a block also 25%, of the region.\n"
	      "\nexit status: 0; 1 the device refused, or something else went wrong;\n"
	      "2 wrong usage; where a COMMAND is run, that of COMMAND\n", to);
}

static void usage_command(const struct command *c)
{
	printf("usage: buddyctl [OPTION...] %s%s%s\n\n%s\n\n", c->name,
	       *c->usage ? " " : "", c->usage, c->help);
	usage_options(stdout, c->options);
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

static bool is_color_terminal(void)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") &&
	       !(no && *no);
}

static bool parse_color(const char *when, bool *color)
{
	*color = !strcmp(when, "always") ||
		 (!strcmp(when, "auto") && is_color_terminal());
	return *color || !strcmp(when, "auto") || !strcmp(when, "never");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* What the command line says, before it is known whether it fits together. */
struct line {
	struct ctl ctl;
	const char *path, *backend;
	unsigned int given;	/* options that are not of every command */
	const char *names[32];	/* and the names of these, by bit */
	bool help, version;
	bool contradicts;	/* two formats */
};

/* Return: 0 or an exit status. */
static int take_value(struct line *line, int option, const char *value)
{
	struct ctl *ctl = &line->ctl;
	char *end;

	switch (option) {
	case 0x102:
		ctl->rows = extent(value);
		return ctl->rows < 0 ? wrong("--rows wants 1 to 4096", value) : 0;
	case 0x103:
		ctl->columns = extent(value);
		return ctl->columns < 0 ? wrong("--columns wants 1 to 4096", value) : 0;
	case 0x104:
		return parse_color(value, &ctl->color) ? 0 :
		       wrong("--color wants always, never or auto", value);
	case 'a':
		return ctl_parse_bytes(value, 0, &ctl->align) ? 0 :
		       wrong("--align wants a length such as 2M", value);
	case 'n':
		ctl->seconds = strtod(value, &end);
		return end == value || *end || !(ctl->seconds >= 0.1 && ctl->seconds <= 3600) ?
		       wrong("--interval wants 0.1 to 3600 seconds", value) : 0;
	case 0x107:
		ctl->plan = value;
		return 0;
	case 0x108:
		ctl->root = value;
		return 0;
	case 'd':
		line->path = value;
		return 0;
	case 'b':
		line->backend = value;
		return 0;
	case 's':
		ctl->socket = value;
		return 0;
	default:
		ctl->output = value;
		return 0;
	}
}

static void take_format(struct line *line, enum ctl_format format)
{
	line->contradicts |= line->ctl.format && line->ctl.format != format;
	line->ctl.format = format;
}

static void take_flag(struct line *line, int option)
{
	struct ctl *ctl = &line->ctl;

	switch (option) {
	case 'j':
		take_format(line, CTL_JSON);
		break;
	case 0x100:
		take_format(line, CTL_PROMETHEUS);
		break;
	case 0x101:
		take_format(line, CTL_SVG);
		break;
	case 0x105:
		ctl->flags |= BUDDY_ALLOC_POW2;
		break;
	case 0x106:
		ctl->flags |= BUDDY_ALLOC_SCATTER;
		break;
	case 0x109:
		ctl->flags |= BUDDY_ALLOC_ALONE;
		break;
	case 'r':
		ctl->share_flags = BUDDY_SHARE_READ_ONLY;
		break;
	case 'V':
		line->version = true;
		break;
	case 'h':
		line->help = true;
		break;
	}
}

/*
 * Fills @line; optind is then the first word that is no option. @argc is where the
 * line ends for us: at a "--". Return: 0 or an exit status.
 */
static int parse(int argc, char **argv, struct line *line)
{
	struct option options[COUNT(option_rows) + 1] = { 0 };
	int c, status = 0;

	for (size_t i = 0; i < COUNT(option_rows); i++)
		options[i] = option_rows[i].option;
	while (!status && (c = getopt_long(argc, argv, "d:b:a:s:n:o:jrVh", options,
					   NULL)) != -1) {
		if (c == '?') {
			fputs("see buddyctl --help\n", stderr);
			return 2;
		}
		for (size_t i = 0; i < COUNT(option_rows); i++) {
			if (options[i].val != c)
				continue;
			line->given |= option_rows[i].of;
			if (option_rows[i].of)
				line->names[__builtin_ctz(option_rows[i].of)] = options[i].name;
		}
		if (optarg)
			status = take_value(line, c, optarg);
		else
			take_flag(line, c);
	}
	return status;
}

/*
 * The operands of @line: the words of argv from @at to its "--" at @end. What is behind
 * that is COMMAND; where none is run, more operands. Return: false where it is too much
 * or too little.
 */
static bool take_operands(struct line *line, const struct command *command, int argc,
			  char **argv, int at, int end)
{
	int behind = end < argc ? argc - end - 1 : 0, count = end - at;

	line->ctl.operands = argv + at;
	line->ctl.argv = argv + argc - behind;
	if (command->runs)
		return count == command->operands && (behind || end == argc);
	if (end < argc)
		memmove(argv + end, argv + end + 1, (size_t)(argc - end) * sizeof(*argv));
	return count + behind == command->operands;
}

/* Whether two things of the line exclude each other; says which. */
static bool contradicts(const struct line *line, const struct command *command)
{
	const uint32_t both = BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER;
	const struct ctl *ctl = &line->ctl;
	const char *why = NULL;

	if (line->contradicts)
		why = "--json, --prometheus and --svg exclude each other";
	else if ((ctl->flags & both) == both)
		why = "--pow2 wants one range and --scatter several";
	else if (ctl->share_flags && command->options & SHARING && !ctl->socket && !*ctl->argv)
		why = "--read-only is for others: with --share, or a COMMAND";
	if (why)
		fprintf(stderr, "buddyctl: %s; see buddyctl %s --help\n", why, command->name);
	return why;
}

/* What a command that ended well printed, has to be there. Return: an exit status. */
static int flushed(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	ctl_failed("standard output", errno ? errno : EIO);
	return 1;
}

/* Return: an exit status. */
static int run(const struct command *command, struct ctl *ctl,
	       enum buddy_backend backend, const char *path)
{
	int err = 0;

	if (!path)
		path = getenv("BUDDY_DEVICE");
	ctl->chosen = path && *path;
	if (!ctl->chosen)
		path = "/dev/buddy";
	ctl->name = backend == BUDDY_BACKEND_PROCESS && !command->no_device ? "process" : path;
	ctl->command = command->name;
	if (!command->no_device)
		err = buddy_dev_open(&ctl->dev, backend, path, 0);
	if (!err) {
		err = command->run(ctl);
		buddy_dev_close(ctl->dev);
	}
	if (err == CTL_MEMORY)
		err = ctl_failed(command->name, ENOMEM);
	else if (err < 0)
		err = ctl_refused();
	if (err)
		return err - CTL_SAID;
	return flushed();
}

int main(int argc, char **argv)
{
	struct line line = { .backend = getenv("BUDDY_BACKEND") };
	const struct command *command;
	enum buddy_backend backend;
	int status, end = 1;

	line.ctl.color = is_color_terminal();
	while (end < argc && strcmp(argv[end], "--"))
		end++;
	status = parse(end, argv, &line);
	if (status)
		return status;
	if (line.version) {
		puts("buddyctl " VERSION);
		return flushed();
	}
	if (optind == end) {
		usage(line.help ? stdout : stderr);
		return line.help ? flushed() : 2;
	}
	command = find(argv[optind++]);
	if (!command)
		return wrong("unknown command", argv[optind - 1]);
	if (line.help) {
		usage_command(command);
		return flushed();
	}
	if (!take_operands(&line, command, argc, argv, optind, end)) {
		fprintf(stderr, "usage: buddyctl [OPTION...] %s %s\n",
			command->name, command->usage);
		return 2;
	}
	line.given &= ~command->options;
	if (line.given) {
		fprintf(stderr, "buddyctl: %s has no such option: --%s; see buddyctl %s --help\n",
			command->name, line.names[__builtin_ctz(line.given)], command->name);
		return 2;
	}
	if (!parse_backend(line.backend, &backend))
		return wrong("unknown backend", line.backend);
	if (contradicts(&line, command))
		return 2;
	return run(command, &line.ctl, backend, line.path);
}
