/* SPDX-License-Identifier: MIT */
/*
 * doctor.h - what the checks of buddyctl doctor share.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "buddyctl.h"
#include "machine.h"

/* What can be seen; each has a row in the table of doctor.c. */
enum condition {
	CONTAINER,
	MODULE_UNKNOWN, MODULE_LOADED, MODULE_CHANGING, MODULE_NOT_LOADED, MODULE_FORBIDDEN,
	MODULE_UNLISTED, MODULE_NOT_INSTALLED, MODULE_OTHER_KERNEL, MODULE_BY_HAND, MODULE_HOST,
	VERSION_OLD, VERSION_COMMAND,
	PARAMETER_UNKNOWN, PARAMETER_VALUE, PARAMETER_OTHER_MODULE, PARAMETER_NOT_IN_EFFECT,
	SIGNATURE_NONE, SIGNATURE_KEY, SIGNATURE_WANTED,
	BOOT_LOADS, BOOT_COMMENTED, BOOT_MISSING, BOOT_NAME, BOOT_BLACKLISTED,
	MEMORY_AVAILABLE,
	NODE_OPENS, NODE_MISSING, NODE_PRIVATE_DEV, NODE_NO_DEVICE, NODE_LEFTOVER, NODE_STALE,
	NODE_NO_DRIVER, NODE_UNMAPPED_GROUP, NODE_LOGIN, NODE_GROUP, NODE_ROOT_ONLY, NODE_MODE,
	NODE_NODEV, NODE_SECURITY, NODE_CGROUP, NODE_OTHER_DRIVER, NODE_ABI, NODE_FAILED,
	REGION_SILENT, REGION_FREE, REGION_FULL, REGION_PRIVATE,
	FRAGMENTED, QUARANTINED, POISONED,
	HUGE_MAPPED, HUGE_NOT_BUILT, HUGE_OTHER_KERNEL,
};

struct exam {
	const struct ctl *ctl;
	struct machine machine;
	struct module module;
	int said, trouble;
	int huge;		/* regions asked for huge mappings */
};

/*
 * Says one line: the condition, which file, node or parameter it is about ("" if it is
 * the machine), and, from printf's format, what was seen and after a | what to do.
 */
__attribute__((format(printf, 4, 5)))
void doctor_say(struct exam *e, enum condition condition, const char *subject,
		const char *format, ...);

/* doctor_module.c */
void doctor_module(struct exam *e);

/* doctor_settings.c */
void doctor_settings(struct exam *e);

/* doctor_node.c */
void doctor_nodes(struct exam *e);

/* doctor_region.c: of a device that is open */
void doctor_region(struct exam *e, struct buddy_dev *dev, const char *path);

/* plan.c */
int ctl_plan(const struct ctl *ctl);

#endif /* DOCTOR_H */
