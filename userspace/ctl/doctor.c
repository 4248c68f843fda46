// SPDX-License-Identifier: MIT
/*
 * doctor.c - buddyctl doctor: what is wrong, and what to do about it.
 *
 * Each check looks at one thing and says one line; what cannot be judged because of an
 * earlier trouble is not asked. Exit status 1 where a check found trouble.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "buddyctl.h"

enum verdict { GOOD, NOTE, TROUBLE };

struct exam {
	const struct ctl *ctl;
	struct buddy_dev *dev;
	struct buddy_info info;
	struct buddy_stats stats;
	bool loaded, built;
	int open_error;
	int said, trouble;
};

/* Verdict, what was seen, and after a | what to do. */
__attribute__((format(printf, 4, 5)))
static void say(struct exam *e, const char *what, enum verdict verdict,
		const char *format, ...)
{
	static const char *const words[] = { "ok", "note", "trouble" };
	char text[512], *todo;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	e->trouble += verdict == TROUBLE;
	todo = strchr(text, '|');
	if (todo)
		*todo++ = 0;
	if (e->ctl->format == CTL_JSON) {
		printf("%s\n  { \"check\": \"%s\", \"verdict\": \"%s\", \"seen\": ",
		       e->said++ ? "," : "", what, words[verdict]);
		ctl_print_string(text);
		fputs(", \"do\": ", stdout);
		ctl_print_string(todo ? todo : "");
		fputs(" }", stdout);
		return;
	}
	printf("%-8s %-12s %s\n", words[verdict], what, text);
	if (todo)
		printf("%-8s %-12s -> %s\n", "", "", todo);
}

/* The first line of a file, or "". */
static void read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");

	*line = 0;
	if (!file)
		return;
	if (!fgets(line, size, file))
		*line = 0;
	line[strcspn(line, "\n")] = 0;
	fclose(file);
}

static void check_module(struct exam *e)
{
	static const char *const places[] = { "updates/dkms", "updates", "extra", "kernel/drivers" };
	struct utsname u;
	char path[512];

	e->loaded = !access("/sys/module/buddy_mem", F_OK);
	uname(&u);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !e->built; i++) {
		glob_t found;

		snprintf(path, sizeof(path), "/lib/modules/%s/%s/buddy_mem.ko*", u.release,
			 places[i]);
		e->built = !glob(path, 0, NULL, &found);
		globfree(&found);
	}
	if (e->loaded)
		say(e, "module", GOOD, "buddy_mem is loaded");
	else if (e->built)
		say(e, "module", TROUBLE,
		    "buddy_mem is installed for %s, and not loaded|modprobe buddy_mem size=4G   (/etc/modprobe.d/buddy.conf: for every boot)",
		    u.release);
	else
		say(e, "module", TROUBLE,
		    "no buddy_mem for the running kernel %s|make dkms-install   (needs linux-headers-%s)",
		    u.release, u.release);
	if (e->loaded && !e->built)
		say(e, "next boot", NOTE,
		    "it is not installed for the kernel %s: loaded by hand|make dkms-install", u.release);
}

/* Secure Boot lets no module in that nobody known has signed. */
static void check_signing(struct exam *e)
{
	char line[128];

	if (e->loaded)
		return;
	read_line("/sys/kernel/security/lockdown", line, sizeof(line));
	if (strstr(line, "[integrity]") || strstr(line, "[confidentiality]"))
		say(e, "signature", NOTE,
		    "the kernel is locked down (Secure Boot): modules must be signed|mokutil --import /var/lib/dkms/mok.pub, reboot, and let dkms sign the module");
}

static void check_memory(struct exam *e)
{
	unsigned long long available = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	if (e->loaded || !file) {
		if (file)
			fclose(file);
		return;
	}
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &available) == 1)
			break;
	fclose(file);
	say(e, "memory", GOOD, "%s are available for size=; the earlier after boot, the longer the range that is found",
	    ctl_bytes(available << 10));
}

static void check_node(struct exam *e)
{
	const char *path = e->ctl->name;
	struct stat s;
	struct group *group;

	if (stat(path, &s)) {
		if (e->loaded)
			say(e, "node", TROUBLE, "%s: %s|udevadm trigger, or -d PATH for another node",
			    path, strerror(errno));
		e->open_error = -ENOENT;
		return;
	}
	group = getgrgid(s.st_gid);
	e->open_error = buddy_dev_open(&e->dev, BUDDY_BACKEND_DEVICE, path, 0);
	if (!e->open_error)
		say(e, "node", GOOD, "%s can be opened", path);
	else if (e->open_error == -EACCES && group && group->gr_gid)
		say(e, "node", TROUBLE, "no permission for %s|usermod -aG %s %s, and log in again",
		    path, group->gr_name, getenv("USER") ? getenv("USER") : "YOU");
	else if (e->open_error == -EACCES)
		say(e, "node", TROUBLE,
		    "no permission for %s, which is root's alone|install the udev rule 60-buddy.rules (make install), then udevadm trigger",
		    path);
	else
		say(e, "node", TROUBLE, "%s", buddy_error());
}

static void check_region(struct exam *e)
{
	const struct buddy_stats *s = &e->stats;

	if (buddy_dev_info(e->dev, &e->info) || buddy_dev_stats(e->dev, &e->stats)) {
		say(e, "region", TROUBLE, "the device does not answer|look at the kernel's log");
		return;
	}
	say(e, "region", GOOD, "%s, of which %s are free; node %d, aligned to %s",
	    ctl_bytes(s->out_region), ctl_bytes(s->out_free), e->info.out_node,
	    ctl_bytes(e->info.out_base_align));
	if (s->out_fails && s->out_fragmentation > 500)
		say(e, "fragments", NOTE,
		    "%" PRIu64 " allocations found no memory, and the largest range is %s|buddyctl map shows who is in the way; BUDDY_ALLOC_SCATTER needs no single range",
		    (uint64_t)s->out_fails, ctl_bytes(s->out_largest));
	if (s->out_quarantined)
		say(e, "quarantine", NOTE,
		    "%s were freed while the kernel or a device still held them (O_DIRECT, io_uring, RDMA, a pipe)|they come back when that ends",
		    ctl_bytes(s->out_quarantined));
	if (s->out_reserved)
		say(e, "reserved", NOTE, "%s have a broken page and stay out of service|look for hardware errors in the kernel's log",
		    ctl_bytes(s->out_reserved));
}

static void check_huge(struct exam *e)
{
	struct utsname u;

	uname(&u);
	if (e->info.out_features & BUDDY_FEATURE_HUGE)
		say(e, "huge pages", GOOD, "blocks of 2 MiB and more are mapped by huge pages");
	else
		say(e, "huge pages", NOTE,
		    "blocks are mapped by small pages: kernel %s has no huge pages for a module|a kernel of 6.12 or later has",
		    u.release);
}

static void check_config(struct exam *e)
{
	glob_t found;
	bool lists = !glob("/etc/modules-load.d/buddy*", 0, NULL, &found);

	globfree(&found);
	if (e->built && !lists)
		say(e, "every boot", NOTE,
		    "the module is not loaded at boot|make install puts a line into /etc/modules-load.d/buddy.conf");
}

int ctl_doctor(const struct ctl *ctl)
{
	struct exam e = { .ctl = ctl };

	if (ctl->format == CTL_JSON)
		putchar('[');
	check_module(&e);
	check_signing(&e);
	check_memory(&e);
	check_node(&e);
	if (e.dev) {
		check_region(&e);
		check_huge(&e);
		buddy_dev_close(e.dev);
	}
	check_config(&e);
	if (ctl->format == CTL_JSON)
		puts("\n]");
	return e.trouble ? CTL_SAID + 1 : 0;
}
