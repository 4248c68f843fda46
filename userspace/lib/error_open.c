// SPDX-License-Identifier: MIT
/*
 * error_open.c - why a device could not be opened: what the node is, who may open it,
 * whose number it has, and what regions there are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include <linux/buddy.h>

#include "error.h"

/*
 * Is it one of the module's nodes, or in the place of one? Only then is it said to
 * remove what is there.
 */
static bool is_ours(const struct buddy_report *r)
{
	return !strncmp(r->text, "/dev/buddy", 10);
}

/* What is there, but is no device. */
static const char *why_no_node(const struct buddy_report *r)
{
	switch (buddy_look_node(r->text)) {
	case NODE_FILE:
		return is_ours(r) ? "it is a regular file of {file_length}, not a device node: a program made it when the module was not loaded; rm {text}, then modprobe buddy_mem" :
			"it is a regular file of {file_length}, not a device node; the module's is /dev/buddy";
	case NODE_DIRECTORY:
		return "it is a directory, not a device node";
	case NODE_OTHER:
		return "it is neither a device node nor a file";
	default:
		return NULL;
	}
}

/* Is this the name of a node, and is there a region of this name? */
static bool is_region(const struct buddy_report *r)
{
	char number[32];

	return is_ours(r) && buddy_look_region(r->text, number, sizeof(number));
}

static bool is_loaded(void)
{
	char names[128];

	return buddy_look_regions(names, sizeof(names));
}

static const char *why_nothing(const struct buddy_report *r)
{
	if (is_region(r))
		return "there is no such node, although the module is loaded: the node was removed, or this /dev is not the host's; give the container --device {text}, or mknod {text} c {region}";
	if (is_loaded())
		return "there is no such node; the module is loaded, and its nodes are {regions}";
	return "there is no such node; modprobe buddy_mem makes /dev/buddy, BUDDY_BACKEND=process needs no module";
}

/* The driver that has the number of the node is another module's. */
static bool is_foreign(const struct buddy_report *r)
{
	char driver[64];

	return buddy_look_node(r->text) == NODE_DEVICE &&
	       buddy_look_driver(r->text, driver, sizeof(driver)) &&
	       !buddy_look_is_region(driver);
}

static const char *why_other_driver(const struct buddy_report *r)
{
	if (!is_foreign(r))
		return NULL;
	if (!is_ours(r))
		return "it is not a buddy device: its number {number} is of the driver {driver}; the module's node is /dev/buddy";
	if (is_region(r))
		return "the node is stale: its number {number} is of the driver {driver}, and buddy has {region}; rm {text}, then mknod {text} c {region}";
	if (is_loaded())
		return "the node is stale: its number {number} is of the driver {driver}, and the module has no region of this name; rm {text}, and take one of {regions}";
	return "the node is stale: its number {number} is of the driver {driver}, and the module is not loaded; rm {text}, then modprobe buddy_mem";
}

static const char *why_forbidden(const struct buddy_report *r)
{
	const char *why = why_other_driver(r);

	return why ? why : "the device cgroup of this container or service forbids the device {number}; start it with --device {text} (systemd: DeviceAllow={text} rw), or use BUDDY_BACKEND=process";
}

static const char *why_not_answered(const struct buddy_report *r)
{
	const char *why = why_other_driver(r);

	return why ? why : "its driver does not answer as this library expects; install module and library from one release";
}

static const char *why_no_access(const struct buddy_report *r)
{
	enum buddy_rank rank;
	unsigned int mode;

	if (buddy_look_node(r->text) == NODE_NONE)
		return "a directory of the path may not be searched";
	if (buddy_look_nodev(r->text))
		return "its file system is mounted nodev, where no device node can be opened; bind-mount the host's node (container: --device {text})";
	if (buddy_look_access(r->text))
		return "its mode would permit it, but its file system was mounted in a user namespace, or a security module forbids it; bind-mount the host's node (container: --device {text})";
	mode = buddy_look_mode(r->text);
	rank = buddy_look_rank(r->text);
	if (rank == RANK_OWNER)
		return "no permission: the node is yours, and its mode {mode} does not let its owner read and write; chmod u+rw {text}";
	if (rank == RANK_GROUP && mode & 077)
		return "no permission: you are in the group of the node, and its mode {mode} does not let the group read and write; chmod g+rw {text} (the udev rule 60-buddy.rules of make install sets 0660), or use BUDDY_BACKEND=process";
	if (rank == RANK_OTHERS && (mode & 060) == 060)
		return "no permission: the node has mode {mode}; be in its group (ls -l {text}; usermod -aG GROUP USER, and log in again), or use BUDDY_BACKEND=process";
	return "no permission: reading and writing the node is its owner's alone (mode {mode}); install the udev rule 60-buddy.rules (make install), then udevadm trigger, or use BUDDY_BACKEND=process";
}

/* No driver has the number of the node, or its driver has no such device. */
static const char *why_no_driver(const struct buddy_report *r)
{
	const char *why = why_other_driver(r);

	if (why)
		return why;
	if (is_region(r))
		return "the node is stale: no driver has its number {number}, and buddy has {region}; rm {text}, then mknod {text} c {region}";
	if (is_loaded() && is_ours(r))
		return "the node is stale: no driver has its number {number}, and the module has no region of this name; rm {text}, and take one of {regions}";
	if (is_ours(r))
		return "no driver has the number of the node, {number}: the module is not loaded; modprobe buddy_mem, or use BUDDY_BACKEND=process";
	return "no driver has the number of the node, {number}; the module's node is /dev/buddy";
}

static const char *why_other_version(const struct buddy_report *r)
{
	if (r->failure.have < BUDDY_ABI_VERSION)
		return "the module has version {abi} of the interface, and this library version {own_abi}; install the module of this release (make dkms-install), then modprobe -r buddy_mem; modprobe buddy_mem; or use the library of the module's release";
	return "the module has version {abi} of the interface, and this library version {own_abi}; install the library of the module's release (make install), and link what has the library inside again; or load the module of this release";
}

static const struct buddy_cause rows[] = {
	{ OP_OPEN, ANY, .why = why_no_node },
	{ OP_OPEN, ENOENT, .why = why_nothing },
	{ OP_OPEN, EACCES, .why = why_no_access },
	{ OP_OPEN, EPERM, .why = why_forbidden },
	{ OP_OPEN, EBUSY, .why = why_other_driver },
	{ OP_OPEN, EIO, .why = why_other_driver },
	{ OP_OPEN, ENODEV, .why = why_no_driver },
	{ OP_OPEN, ENXIO, .why = why_no_driver },
	{ OP_IDENTIFY, ANY, .why = why_no_node },
	{ OP_IDENTIFY, EPROTO, .why = why_other_version },
	{ OP_IDENTIFY, ANY, .why = why_not_answered },
};

const char *buddy_error_open(const struct buddy_report *report)
{
	return buddy_error_find(rows, sizeof(rows) / sizeof(rows[0]), report);
}
