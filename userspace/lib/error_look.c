// SPDX-License-Identifier: MIT
/*
 * error_look.c - what may have been the cause of a failure: limits of the process,
 * the node, and what /proc says of drivers. All of it as it is now, read again by each
 * call, and without a lock.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "error.h"

#define MISC_MAJOR	10

enum buddy_node buddy_look_node(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return NODE_NONE;
	if (S_ISCHR(st.st_mode))
		return NODE_DEVICE;
	if (S_ISREG(st.st_mode))
		return NODE_FILE;
	return S_ISDIR(st.st_mode) ? NODE_DIRECTORY : NODE_OTHER;
}

bool buddy_look_access(const char *path)
{
	return !faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS);
}

bool buddy_look_nodev(const char *path)
{
	struct statvfs fs;

	return !statvfs(path, &fs) && fs.f_flag & ST_NODEV;
}

unsigned int buddy_look_mode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (unsigned int)st.st_mode & 07777;
}

enum buddy_rank buddy_look_rank(const char *path)
{
	struct stat st;
	gid_t *groups;
	bool in = false;
	int n;

	if (stat(path, &st))
		return RANK_OTHERS;
	if (st.st_uid == geteuid())
		return RANK_OWNER;
	n = getgroups(0, NULL);
	groups = n > 0 ? calloc((size_t)n, sizeof(*groups)) : NULL;
	if (groups)
		n = getgroups(n, groups);
	for (int i = 0; groups && i < n; i++)
		in |= groups[i] == st.st_gid;
	free(groups);
	return in || st.st_gid == getegid() ? RANK_GROUP : RANK_OTHERS;
}

uint64_t buddy_look_length(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

void buddy_look_number(const char *path, char *text, size_t size)
{
	struct stat st;

	*text = 0;
	if (!stat(path, &st))
		snprintf(text, size, "%u:%u", major(st.st_rdev), minor(st.st_rdev));
}

/* All of a short file, or its beginning; "" where it cannot be read. */
static void read_text(const char *file, char *text, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	size_t at = 0;
	ssize_t n = 1;

	while (fd >= 0 && at < size - 1 && n > 0) {
		n = read(fd, text + at, size - 1 - at);
		at += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	text[at] = 0;
}

/*
 * A line of /proc/misc or /proc/devices is a number and a name. Finds the name of
 * @number, or where that is negative the number of @name. Return: false: there is none.
 */
static bool find_driver(const char *file, long *number, char *name, size_t size)
{
	char text[4096], found[64];
	long n;

	read_text(file, text, sizeof(text));
	/* of /proc/devices the first half, which ends with an empty line */
	for (char *line = text; *line && *line != '\n'; line += *line == '\n') {
		if (sscanf(line, "%ld %63s", &n, found) == 2 &&
		    (*number < 0 ? !strcmp(found, name) : n == *number)) {
			*number = n;
			snprintf(name, size, "%s", found);
			return true;
		}
		line += strcspn(line, "\n");
	}
	return false;
}

bool buddy_look_driver(const char *path, char *text, size_t size)
{
	bool misc;
	long number;
	struct stat st;

	snprintf(text, size, "no driver");
	if (stat(path, &st))
		return false;
	misc = major(st.st_rdev) == MISC_MAJOR;
	number = (long)(misc ? minor(st.st_rdev) : major(st.st_rdev));
	return find_driver(misc ? "/proc/misc" : "/proc/devices", &number, text, size);
}

/* As the module names them: buddy, buddy1, ... */
bool buddy_look_is_region(const char *name)
{
	return !strncmp(name, "buddy", 5) && name[5 + strspn(name + 5, "0123456789")] == 0;
}

bool buddy_look_region(const char *path, char *text, size_t size)
{
	const char *base = strrchr(path, '/');
	long number = -1;
	char name[64];

	*text = 0;
	snprintf(name, sizeof(name), "%s", base ? base + 1 : path);
	if (!buddy_look_is_region(name) ||
	    !find_driver("/proc/misc", &number, name, sizeof(name)))
		return false;
	snprintf(text, size, "%d %ld", MISC_MAJOR, number);
	return true;
}

bool buddy_look_regions(char *text, size_t size)
{
	size_t at = 0;

	*text = 0;
	for (int i = 0; i < 8 && at < size; i++) {
		char name[32] = "buddy";
		long number = -1;

		if (i)
			snprintf(name, sizeof(name), "buddy%d", i);
		if (find_driver("/proc/misc", &number, name, sizeof(name)))
			at += (size_t)snprintf(text + at, size - at, "%s/dev/%s",
					       at ? ", " : "", name);
	}
	return at;
}

void buddy_look_target(int fd, char *text, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, text, size - 1);
	text[n < 0 ? 0 : n] = 0;
}

bool buddy_look_is_path(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_PATH;
}

uint64_t buddy_look_limit(int resource)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static uint64_t first_number(const char *file)
{
	char text[64];

	read_text(file, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

uint64_t buddy_look_addresses(void)
{
	return first_number("/proc/self/statm") * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t buddy_look_most_mappings(void)
{
	return first_number("/proc/sys/vm/max_map_count");
}

uint64_t buddy_look_mappings(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	uint64_t lines = 0;
	char text[4096];
	ssize_t n;

	if (fd < 0)
		return 0;
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	close(fd);
	return lines;
}
