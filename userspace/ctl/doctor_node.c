// SPDX-License-Identifier: MIT
/*
 * doctor_node.c - the device nodes: are they there, are they the module's, do they open?
 *
 * A node whose numbers are not those of a device of the module is never opened: to open a
 * stranger's device may do something (that of a watchdog starts it).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "doctor.h"

enum { MAX_DEVICES = 16, MISC_MAJOR = 10 };

struct device {
	char name[16];		/* buddy, buddy1, ... */
	dev_t number;
};

struct devices {
	int count;		/* 0 also if the kernel does not tell */
	struct device all[MAX_DEVICES];
};

static bool is_ours(const char *name)
{
	return !strncmp(name, "buddy", 5) && strspn(name + 5, "0123456789") == strlen(name + 5);
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct device *)a)->name, ((const struct device *)b)->name);
}

/* "122 buddy", one a line: the misc devices that the kernel has. */
static void read_devices(const struct exam *e, struct devices *d)
{
	FILE *file = fopen(machine_path(&e->machine, "/proc/misc"), "re");
	unsigned int number;
	char name[16];

	*d = (struct devices){ 0 };
	while (file && d->count < MAX_DEVICES && fscanf(file, "%u %15s", &number, name) == 2) {
		if (!is_ours(name))
			continue;
		d->all[d->count] = (struct device){ .number = makedev(MISC_MAJOR, number) };
		strcpy(d->all[d->count++].name, name);
	}
	if (file)
		fclose(file);
	qsort(d->all, (size_t)d->count, sizeof(d->all[0]), by_name);
}

static bool is_device(const struct devices *d, dev_t number)
{
	for (int i = 0; i < d->count; i++)
		if (d->all[i].number == number)
			return true;
	return false;
}

static const char give_node[] = "give -d or BUDDY_DEVICE the node of buddy_mem, which is /dev/buddy";

static const char *user_name(void)
{
	const struct passwd *user = getpwuid(getuid());

	return user ? user->pw_name : "USER";
}

static bool has_group(gid_t gid)
{
	gid_t groups[1024];
	int count = getgroups(1024, groups);

	if (gid == getegid())
		return true;
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* What the database says, which a login before that does not have. */
static bool is_member(const struct group *group)
{
	const char *user = user_name();

	for (char **member = group->gr_mem; *member; member++)
		if (!strcmp(*member, user))
			return true;
	return false;
}

static void say_root_only(struct exam *e, const char *path)
{
	static const char *const rules[] = { "/etc/udev/rules.d/60-buddy.rules",
		"/usr/lib/udev/rules.d/60-buddy.rules", "/lib/udev/rules.d/60-buddy.rules" };
	bool rule = false;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		rule |= machine_has(&e->machine, rules[i]);
	if (!rule)
		doctor_say(e, NODE_ROOT_ONLY, path,
			   "no permission for %s, which is root's alone|as root: make install (it has the udev rule 60-buddy.rules), then udevadm trigger",
			   path);
	else if (!getgrnam("buddy"))
		doctor_say(e, NODE_ROOT_ONLY, path,
			   "no permission for %s: the udev rule gives it to the group buddy, which does not exist|"
			   "as root: groupadd -r buddy && udevadm trigger", path);
	else
		doctor_say(e, NODE_ROOT_ONLY, path,
			   "no permission for %s, which is root's alone, though the udev rule is there|as root: udevadm control --reload && udevadm trigger",
			   path);
}

/* The bits of the mode that hold for this process: 6 to read and write. */
static mode_t bits_for_us(const struct stat *s)
{
	return (s->st_uid == geteuid() ? s->st_mode >> 6 :
		has_group(s->st_gid) ? s->st_mode >> 3 : s->st_mode) & 7;
}

static void say_no_bits(struct exam *e, const char *path, const struct stat *s)
{
	const bool grants = (s->st_mode & 060) == 060;
	const struct group *group = getgrgid(s->st_gid);
	const char *name = group ? group->gr_name : "?";

	if (e->machine.userns && grants && s->st_gid == e->machine.overflow_gid)
		doctor_say(e, NODE_UNMAPPED_GROUP, path,
			   "no permission for %s: its group has no name in this user namespace, so no process here can be in it|"
			   "on the host be in the group of the node, and keep that: podman run --group-add keep-groups",
			   path);
	else if (!s->st_gid && !(s->st_mode & 07))
		say_root_only(e, path);
	else if (!grants || has_group(s->st_gid) || !group)
		doctor_say(e, NODE_MODE, path,
			   "no permission for %s: mode %04o of user %u and group %s lets this process not read and write|"
			   "%sas root: chgrp buddy %s && chmod 660 %s", path, (unsigned int)s->st_mode & 07777,
			   (unsigned int)s->st_uid, name, e->machine.userns ? "on the host, " : "", path, path);
	else if (is_member(group))
		doctor_say(e, NODE_LOGIN, path,
			   "no permission for %s: %s is in the group %s, but logged in before that|log in again, or: newgrp %s",
			   path, user_name(), name, name);
	else
		doctor_say(e, NODE_GROUP, path, "no permission for %s|as root: usermod -aG %s %s; then log in again",
			   path, name, user_name());
}

static void say_denied(struct exam *e, const char *path, const struct stat *s)
{
	struct statvfs fs;

	if (!statvfs(path, &fs) && fs.f_flag & ST_NODEV)
		doctor_say(e, NODE_NODEV, path,
			   "%s is on a file system that is mounted nodev: no device opens there|"
			   "use the node in /dev; or mount that file system with dev", path);
	else if ((geteuid() || e->machine.userns) && (bits_for_us(s) & 6) != 6)
		say_no_bits(e, path, s);
	else
		doctor_say(e, NODE_SECURITY, path,
			   "no permission for %s, though its mode allows it: a security module (SELinux, AppArmor) forbids it, or the file system is of another user namespace|"
			   "look at the kernel's log, or: ausearch -m avc; for podman: --security-opt label=disable", path);
}

/* Whether a path has a name of the module's nodes: only of these we say that they may go. */
static bool is_our_path(const char *path)
{
	const char *slash = strrchr(path, '/');

	return is_ours(slash ? slash + 1 : path);
}

static void say_no_device(struct exam *e, const char *path, mode_t mode)
{
	if (!is_our_path(path))
		doctor_say(e, NODE_NO_DEVICE, path, "%s is not a device|%s", path, give_node);
	else if (S_ISREG(mode))
		doctor_say(e, NODE_NO_DEVICE, path,
			   "%s is a regular file, not a device: a program wrote there while there was none|"
			   "as root: rm %s, then load the module (again), which makes the node", path, path);
	else
		doctor_say(e, NODE_NO_DEVICE, path,
			   "%s is %s, not a device|as root: move it away, then load the module (again), which makes the node",
			   path, S_ISDIR(mode) ? "a directory" : "another kind of file");
}

static void say_other_driver(struct exam *e, const char *path, dev_t number, const char *why)
{
	doctor_say(e, NODE_OTHER_DRIVER, path, "%s (%u:%u) is the node of another driver%s|%s", path,
		   major(number), minor(number), why, give_node);
}

static void say_not_open(struct exam *e, const char *path, const struct stat *s, int error)
{
	unsigned int ma = major(s->st_rdev), mi = minor(s->st_rdev);

	if (error == EACCES)
		say_denied(e, path, s);
	else if (error == EPERM)
		doctor_say(e, NODE_CGROUP, path,
			   "the device cgroup of this process forbids %s|"
			   "in a container: --device %s; in a systemd unit: DeviceAllow=%s rw", path, path, path);
	else if ((error == ENXIO || error == ENODEV) && is_our_path(path))
		doctor_say(e, NODE_NO_DRIVER, path,
			   "no driver has the numbers of %s (%u:%u): it is left from an earlier load|as root: rm %s; the module makes its nodes when it is loaded",
			   path, ma, mi, path);
	else if (error == ENXIO || error == ENODEV)
		doctor_say(e, NODE_NO_DRIVER, path, "no driver has the numbers of %s (%u:%u)|%s", path,
			   ma, mi, give_node);
	else
		doctor_say(e, NODE_FAILED, path, "%s: %s", path, strerror(error));
}

/* @abi: what the module says of itself */
static void say_other_abi(struct exam *e, const char *path, unsigned int abi)
{
	doctor_say(e, NODE_ABI, path,
		   "%s: module %s has version %u of the interface, and buddyctl %s version %u|%s",
		   path, e->module.version, abi, VERSION, BUDDY_ABI_VERSION,
		   abi < BUDDY_ABI_VERSION ?
		   "install the module of this release: make dkms-install; then modprobe -r buddy_mem; modprobe buddy_mem" :
		   "install buddyctl and the library of the module's release: make install");
}

static void say_no_answer(struct exam *e, const char *path, const struct stat *s, int err,
			  unsigned int abi)
{
	if (err == -EPROTO)
		say_other_abi(e, path, abi);
	else if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		doctor_say(e, NODE_FAILED, path, "%s: %s", path, strerror(-err));
	else
		say_other_driver(e, path, s->st_rdev, ": it does not answer as buddy_mem does");
}

static void open_node(struct exam *e, const char *path, const struct stat *s)
{
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_dev *dev;
	int err, fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		say_not_open(e, path, s, errno);
		return;
	}
	err = buddy_dev_open(&dev, BUDDY_BACKEND_DEVICE, path, 0);
	if (err == -EPROTO)
		ioctl(fd, BUDDY_IOC_INFO, &info);
	close(fd);
	if (err) {
		say_no_answer(e, path, s, err, info.out_abi_version);
		return;
	}
	doctor_say(e, NODE_OPENS, path, "%s can be opened", path);
	doctor_region(e, dev, path);
	buddy_dev_close(dev);
}

/* @device: what the node ought to be, or one of several that it might be. */
static void say_stale(struct exam *e, const char *path, dev_t is, const struct device *device,
		      bool several)
{
	const unsigned int mi = minor(device->number);

	doctor_say(e, NODE_STALE, path,
		   "%s is %u:%u, and buddy_mem has %u:%u%s: the node is left from an earlier load, or another driver's|"
		   "as root: rm %s && mknod -m 660 %s c %u %u && chgrp buddy %s; start a container again, which copied it",
		   path, major(is), minor(is), MISC_MAJOR, mi, several ? " and others" : "", path,
		   path, MISC_MAJOR, mi, path);
}

/* @wanted: the device that the node ought to be; NULL: any of ours. */
static void check_node(struct exam *e, const struct devices *d, const char *path,
		       const struct stat *s, const struct device *wanted)
{
	bool is_right = wanted ? wanted->number == s->st_rdev : is_device(d, s->st_rdev);

	if (!S_ISCHR(s->st_mode))
		say_no_device(e, path, s->st_mode);
	else if (d->count && !is_right && !is_our_path(path))
		say_other_driver(e, path, s->st_rdev, "");
	else if (d->count && !is_right)
		say_stale(e, path, s->st_rdev, wanted ? wanted : &d->all[0], !wanted && d->count > 1);
	else if (!e->module.known || e->module.loaded)
		open_node(e, path, s);
	else if (is_our_path(path))
		doctor_say(e, NODE_LEFTOVER, path,
			   "%s (%u:%u) is there, though the module is not loaded|as root: rm %s; the module makes its nodes when it is loaded",
			   path, major(s->st_rdev), minor(s->st_rdev), path);
}

static void say_no_node(struct exam *e, const char *path, const struct device *device)
{
	unsigned int mi = minor(device->number);
	char type[32];

	machine_mount(&e->machine, "/dev", type, sizeof(type));
	if (!strcmp(type, "devtmpfs"))
		doctor_say(e, NODE_MISSING, path,
			   "the device is there (%u:%u), and its node %s is not: it was removed|"
			   "as root: mknod -m 660 %s c %u %u && chgrp buddy %s", MISC_MAJOR, mi, path, path,
			   MISC_MAJOR, mi, path);
	else
		doctor_say(e, NODE_PRIVATE_DEV, path,
			   "the module is loaded and has the device (%u:%u), but this process has a /dev of its own, without %s|"
			   "in a container: --device %s; in a systemd unit with PrivateDevices=: BindPaths=%s and DeviceAllow=%s rw",
			   MISC_MAJOR, mi, path, path, path, path);
}

/* Nodes of our names that no device has: programs may open them. Return: how many. */
static int check_strays(struct exam *e, const struct devices *d)
{
	glob_t found;
	int strays = 0;

	if (glob(machine_path(&e->machine, "/dev/buddy*"), 0, NULL, &found))
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *name = strrchr(found.gl_pathv[i], '/') + 1;
		bool listed = !is_ours(name);
		struct stat s;

		for (int k = 0; k < d->count; k++)
			listed |= !strcmp(d->all[k].name, name);
		if (listed || stat(found.gl_pathv[i], &s))
			continue;
		check_node(e, d, found.gl_pathv[i], &s, NULL);
		strays++;
	}
	globfree(&found);
	return strays;
}

static void check_all(struct exam *e, const struct devices *d)
{
	for (int i = 0; i < d->count; i++) {
		char path[512];
		struct stat s;

		snprintf(path, sizeof(path), "%s",
			 machine_path(&e->machine, "/dev/%s", d->all[i].name));
		if (stat(path, &s))
			say_no_node(e, path, &d->all[i]);
		else
			check_node(e, d, path, &s, &d->all[i]);
	}
	if (!check_strays(e, d) && !d->count && (e->module.loaded || !e->module.known))
		doctor_say(e, NODE_MISSING, "/dev/buddy",
			   "there is no /dev/buddy|-d PATH, if its node is elsewhere");
}

void doctor_nodes(struct exam *e)
{
	const char *path = e->ctl->name;
	struct devices d;
	struct stat s;

	read_devices(e, &d);
	if (!e->ctl->chosen)
		check_all(e, &d);
	else if (!stat(path, &s))
		check_node(e, &d, path, &s, NULL);
	else if (e->module.loaded)
		doctor_say(e, NODE_MISSING, path, "%s: %s|-d PATH or BUDDY_DEVICE=PATH with the node of buddy_mem",
			   path, strerror(errno));
}
