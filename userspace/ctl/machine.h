/* SPDX-License-Identifier: MIT */
/*
 * machine.h - what the files of this machine say: about the module, and in general.
 *
 * All of them are read below one root, so that a test can lay out a machine.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MACHINE_MODULE	"buddy_mem"

struct machine {
	const char *root;	/* "" for this machine */
	char release[65];	/* of the running kernel */
	bool userns;		/* in a user namespace that is not the first one */
	bool contained;		/* the same, or a container: the host's files are not seen */
	gid_t overflow_gid;	/* what a gid looks like that has no name in the namespace */
};

/* @root as "/dir", or "". */
void machine_init(struct machine *m, const char *root);

/* The path below the root, made of printf's format; the text lives until the next call. */
__attribute__((format(printf, 2, 3)))
const char *machine_path(const struct machine *m, const char *format, ...);

bool machine_has(const struct machine *m, const char *path);

/* The first line of a file, "" if there is none. Return: whether it can be read. */
bool machine_line(const struct machine *m, const char *path, char *line, int size);

/* The number behind @key at the start of a line of a file (MemTotal:); -1 if there is none. */
int64_t machine_number(const struct machine *m, const char *path, const char *key);

/* The type of the file system that is mounted at @point; "" if it is not known. */
void machine_mount(const struct machine *m, const char *point, char *type, int size);

/* A word of the kernel's command line that begins with @key; false if there is none. */
bool machine_option(const struct machine *m, const char *key, char *value, int size);

/* A line of a configuration file: where it is, and its text without the newline. */
struct machine_line {
	const char *path;	/* without the root */
	int number;
	char *text;
};

/*
 * Calls @each for the lines of all *.conf in @dirs, which ends with NULL, in the order in
 * which they are obeyed: by name; a file hides those of its name in later directories.
 * A line that ends with a backslash goes on in the next one.
 */
void machine_conf(const struct machine *m, const char *const *dirs,
		  void (*each)(void *context, const struct machine_line *line), void *context);

enum { MODULE_PARAMETERS = 16, MODULE_NAME = 32 };

/* The module as it is loaded, and as it lies on the disk for the running kernel. */
struct module {
	bool known;		/* whether it is loaded can be told at all */
	bool loaded;
	char state[16];		/* Live, Loading, Unloading; "" if not told */
	char version[64], srcversion[64];	/* "" if not told */

	char file[512];		/* without the root; "" if there is none */
	bool listed;		/* in modules.dep: modprobe finds it */
	char elsewhere[128];	/* another kernel's release that has it, if this has not */
	bool read;		/* modinfo told what follows */
	char disk_version[64], disk_srcversion[64];
	char signer[128];	/* "" if it is not signed */
	bool is_signed;

	int parameter_count;	/* of the file; if there is none, of what is loaded */
	char parameters[MODULE_PARAMETERS][MODULE_NAME];
};

void machine_module(const struct machine *m, struct module *module);

/* The value of a parameter of the loaded module; "" if it is not told. */
void machine_parameter(const struct machine *m, const char *name, char *value, int size);

#endif /* MACHINE_H */
