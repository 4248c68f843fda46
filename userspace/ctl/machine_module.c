// SPDX-License-Identifier: MIT
/*
 * machine_module.c - the module as it is loaded, and its file on the disk.
 *
 * Files may be compressed in several ways, so modinfo reads them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define SYSFS	"/sys/module/" MACHINE_MODULE

static void read_loaded(const struct machine *m, struct module *module)
{
	FILE *file = fopen(machine_path(m, "/proc/modules"), "re");
	char line[512], name[64];

	module->known = file || machine_has(m, "/sys/module");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %*s %*s %*s %15s", name, module->state) == 2 &&
		    !strcmp(name, MACHINE_MODULE)) {
			module->loaded = true;
			break;
		}
		*module->state = 0;
	}
	if (file)
		fclose(file);
	module->loaded |= machine_has(m, SYSFS);
	machine_line(m, SYSFS "/version", module->version, sizeof(module->version));
	machine_line(m, SYSFS "/srcversion", module->srcversion, sizeof(module->srcversion));
}

void machine_parameter(const struct machine *m, const char *name, char *value, int size)
{
	char path[128];

	snprintf(path, sizeof(path), SYSFS "/parameters/%s", name);
	machine_line(m, path, value, size);
}

static const char file_name[] = MACHINE_MODULE ".ko";	/* and what it is compressed by */

/* modprobe goes by modules.dep: "updates/dkms/buddy_mem.ko.xz: ...". */
static bool find_listed(const struct machine *m, struct module *module)
{
	FILE *file = fopen(machine_path(m, "/lib/modules/%s/modules.dep", m->release), "re");
	char *line = NULL;
	size_t size = 0;

	while (file && !module->listed && getline(&line, &size, file) > 0) {
		char *base;

		line[strcspn(line, ":\n")] = 0;
		base = strrchr(line, '/');
		if (strncmp(base ? base + 1 : line, file_name, strlen(file_name)))
			continue;
		if (*line == '/')
			snprintf(module->file, sizeof(module->file), "%s", line);
		else
			snprintf(module->file, sizeof(module->file), "/lib/modules/%s/%s",
				 m->release, line);
		module->listed = machine_has(m, module->file);
	}
	free(line);
	if (file)
		fclose(file);
	return module->listed;
}

/* The first file of a pattern below the root; false if there is none. */
static bool find_file(const struct machine *m, const char *release, char *path, size_t size)
{
	static const char *const places[] = { "updates/dkms", "updates", "extra",
					      "kernel/drivers/*" };
	bool found = false;

	for (size_t i = 0; !found && i < sizeof(places) / sizeof(places[0]); i++) {
		glob_t all;

		found = !glob(machine_path(m, "/lib/modules/%s/%s/%s*", release, places[i],
					   file_name), 0, NULL, &all);
		if (found)
			snprintf(path, size, "%s", all.gl_pathv[0] + strlen(m->root));
		globfree(&all);
	}
	return found;
}

static void find_on_disk(const struct machine *m, struct module *module)
{
	const size_t skip = strlen("/lib/modules/");
	char path[512];

	if (find_listed(m, module) || find_file(m, m->release, module->file, sizeof(module->file)))
		return;
	*module->file = 0;
	if (find_file(m, "*", path, sizeof(path)))
		snprintf(module->elsewhere, sizeof(module->elsewhere), "%.*s",
			 (int)strcspn(path + skip, "/"), path + skip);
}

/* Reads what modinfo prints about a file; NULL if there is no modinfo. */
static FILE *start_modinfo(const char *path, pid_t *child)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return NULL;
	*child = fork();
	if (!*child) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(ends[1], STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("modinfo", "modinfo", "-0", path, NULL);
		/* Administrators' commands are not in the PATH of all. */
		execl("/usr/sbin/modinfo", "modinfo", "-0", path, NULL);
		execl("/sbin/modinfo", "modinfo", "-0", path, NULL);
		_exit(127);
	}
	close(ends[1]);
	if (*child < 0)
		close(ends[0]);
	return *child < 0 ? NULL : fdopen(ends[0], "r");
}

static void add_parameter(struct module *module, const char *name)
{
	size_t length = strcspn(name, ":");

	for (int i = 0; i < module->parameter_count; i++)
		if (!strncmp(module->parameters[i], name, length) && !module->parameters[i][length])
			return;
	if (module->parameter_count < MODULE_PARAMETERS)
		snprintf(module->parameters[module->parameter_count++], MODULE_NAME, "%.*s",
			 (int)length, name);
}

static void take_field(struct module *module, const char *key, const char *value)
{
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {
		{ "version", module->disk_version, sizeof(module->disk_version) },
		{ "srcversion", module->disk_srcversion, sizeof(module->disk_srcversion) },
		{ "signer", module->signer, sizeof(module->signer) },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(key, texts[i].key))
			snprintf(texts[i].to, texts[i].size, "%s", value);
	if (!strcmp(key, "sig_id") || !strcmp(key, "signer"))
		module->is_signed = true;
	if (!strcmp(key, "parm") || !strcmp(key, "parmtype"))
		add_parameter(module, value);
}

static void read_on_disk(const struct machine *m, struct module *module)
{
	pid_t child;
	FILE *from = start_modinfo(machine_path(m, "%s", module->file), &child);
	char *text = NULL;
	size_t size = 0;
	int status = 0;

	if (!from)
		return;
	/* "key=value" or, in other releases, "key:    value", each with a NUL behind it */
	while (getdelim(&text, &size, 0, from) > 0) {
		char *value = text + strcspn(text, "=:");

		if (!*value)
			continue;
		*value++ = 0;
		take_field(module, text, value + strspn(value, " "));
	}
	free(text);
	fclose(from);
	module->read = waitpid(child, &status, 0) == child && !status;
}

void machine_module(const struct machine *m, struct module *module)
{
	glob_t found;

	*module = (struct module){ 0 };
	read_loaded(m, module);
	if (!m->contained)
		find_on_disk(m, module);
	if (*module->file)
		read_on_disk(m, module);
	if (module->parameter_count)
		return;
	if (!glob(machine_path(m, SYSFS "/parameters/*"), 0, NULL, &found))
		for (size_t i = 0; i < found.gl_pathc; i++)
			add_parameter(module, strrchr(found.gl_pathv[i], '/') + 1);
	globfree(&found);
}
