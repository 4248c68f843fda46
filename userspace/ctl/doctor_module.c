// SPDX-License-Identifier: MIT
/*
 * doctor_module.c - is the module loaded, could it be, and is it the one that is installed?
 */
#include <string.h>

#include "doctor.h"

static bool says_one(const struct exam *e, const char *path)
{
	char line[16];

	machine_line(&e->machine, path, line, sizeof(line));
	return *line == '1' || *line == 'Y';
}

/* What keeps any module, or this one, from being loaded. Return: whether something does. */
static bool is_forbidden(struct exam *e)
{
	char list[256];

	if (says_one(e, "/proc/sys/kernel/modules_disabled"))
		doctor_say(e, MODULE_FORBIDDEN, "kernel.modules_disabled",
			   "the kernel loads no more modules: kernel.modules_disabled is 1|"
			   "reboot, and let the module be loaded before that is set: by /etc/modules-load.d");
	else if (machine_option(&e->machine, "module_blacklist=", list, sizeof(list)) &&
		 strstr(list, MACHINE_MODULE))
		doctor_say(e, MODULE_FORBIDDEN, "module_blacklist",
			   "the kernel's command line forbids it: module_blacklist=%s|"
			   "boot without that", list);
	else
		return false;
	return true;
}

static void say_not_loaded(struct exam *e)
{
	const struct module *m = &e->module;
	const char *release = e->machine.release;

	if (e->machine.contained)
		doctor_say(e, MODULE_HOST, MACHINE_MODULE,
			   "buddy_mem is not loaded|on the host, as root: modprobe buddy_mem size=4G");
	else if (*m->file && is_forbidden(e))
		return;
	else if (m->listed)
		doctor_say(e, MODULE_NOT_LOADED, m->file,
			   "buddy_mem is installed for %s, and not loaded|"
			   "as root: modprobe buddy_mem size=4G   (buddyctl doctor --size 50%% prints the line for this machine)",
			   release);
	else if (*m->file)
		doctor_say(e, MODULE_UNLISTED, m->file,
			   "%s is there, but modprobe does not find it|as root: depmod -a, then modprobe buddy_mem size=4G",
			   m->file);
	else if (*m->elsewhere)
		doctor_say(e, MODULE_OTHER_KERNEL, release,
			   "buddy_mem is installed for the kernel %s, and %s is running|"
			   "as root: dkms autoinstall -k %s   (needs linux-headers-%s), or boot %s",
			   m->elsewhere, release, release, release, m->elsewhere);
	else
		doctor_say(e, MODULE_NOT_INSTALLED, release,
			   "no buddy_mem for the running kernel %s|make dkms-install   (needs linux-headers-%s)",
			   release, release);
}

static void check_loaded(struct exam *e)
{
	const struct module *m = &e->module;

	if (e->machine.contained)
		doctor_say(e, CONTAINER, "",
			   "this is %s: the module's files and settings are the host's|"
			   "for those run buddyctl doctor on the host",
			   e->machine.userns ? "a user namespace" : "a container");
	if (!m->known)
		doctor_say(e, MODULE_UNKNOWN, MACHINE_MODULE,
			   "neither /proc/modules nor /sys/module is there: what is loaded cannot be told|"
			   "mount /proc and /sys, or look on the host");
	else if (!m->loaded)
		say_not_loaded(e);
	else if (*m->state && strcmp(m->state, "Live"))
		doctor_say(e, MODULE_CHANGING, MACHINE_MODULE, "buddy_mem is %s just now",
			   strcmp(m->state, "Loading") ? "being unloaded" : "being loaded");
	else
		doctor_say(e, MODULE_LOADED, MACHINE_MODULE, "buddy_mem%s%s is loaded",
			   *m->version ? " " : "", m->version);
	if (m->loaded && !*m->file && !e->machine.contained)
		doctor_say(e, MODULE_BY_HAND, e->machine.release,
			   "it is not installed for the kernel %s: loaded by hand, and gone after a reboot|make dkms-install",
			   e->machine.release);
}

static bool differ(const char *a, const char *b)
{
	return *a && *b && strcmp(a, b);
}

static void check_version(struct exam *e)
{
	static const char again[] = "what is newer there is not in effect|end the programs that use it, then as root: modprobe -r buddy_mem && modprobe buddy_mem; or reboot";
	const struct module *m = &e->module;

	if (!m->loaded)
		return;
	if (differ(m->version, m->disk_version))
		doctor_say(e, VERSION_OLD, m->file, "%s is loaded, and %s is installed: %s",
			   m->version, m->disk_version, again);
	else if (differ(m->srcversion, m->disk_srcversion))
		doctor_say(e, VERSION_OLD, m->file,
			   "another build of %s is loaded than is installed: %s", m->version, again);
	if (differ(m->version, VERSION))
		doctor_say(e, VERSION_COMMAND, m->version,
			   "the module is %s, buddyctl is %s|install both from one release: make install, make dkms-install",
			   m->version, VERSION);
}

/*
 * Signatures
 */

static bool is_secure_boot(const struct exam *e)
{
	static const char path[] =
		"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
	FILE *file = fopen(machine_path(&e->machine, "%s", path), "re");
	unsigned char bytes[5] = { 0 };		/* four of attributes, and the value */
	bool on = file && fread(bytes, 1, 5, file) == 5 && bytes[4] == 1;

	if (file)
		fclose(file);
	return on;
}

/* What demands signatures, for people; NULL if nothing does. */
static const char *who_demands(const struct exam *e, bool secure_boot)
{
	char line[128];

	if (says_one(e, "/sys/module/module/parameters/sig_enforce"))
		return "module.sig_enforce is on";
	machine_line(&e->machine, "/sys/kernel/security/lockdown", line, sizeof(line));
	if (strstr(line, "[integrity]") || strstr(line, "[confidentiality]"))
		return secure_boot ? "Secure Boot is on and the kernel locked down" :
				     "the kernel is locked down";
	/* Without securityfs it cannot be told whether Secure Boot has locked it down. */
	return secure_boot && !*line ? "Secure Boot is on" : NULL;
}

enum key { KEY_UNTOLD, KEY_FOUND, KEY_MISSING };

/* Whether the kernel has the signer's key; /proc/keys shows its keys to root alone. */
static enum key find_key(const struct exam *e)
{
	FILE *file = fopen(machine_path(&e->machine, "/proc/keys"), "re");
	const char *signer = e->module.signer;
	enum key key = KEY_UNTOLD;
	char line[512];

	while (file && key != KEY_FOUND && fgets(line, sizeof(line), file)) {
		if (!strstr(line, " asymmetri"))
			continue;
		key = *signer && strstr(line, signer) ? KEY_FOUND : KEY_MISSING;
	}
	if (file)
		fclose(file);
	return key;
}

static void check_signature(struct exam *e)
{
	static const char ask[] = "as root: mokutil --test-key /var/lib/dkms/mok.pub; if it is not enrolled, mokutil --import of the same";
	static const char mok[] = "mokutil --import /var/lib/dkms/mok.pub, reboot and enroll it; then make dkms-install";
	static const char none[] = "boot without module.sig_enforce=1, or sign it with a key that the kernel was built with";
	const struct module *m = &e->module;
	const bool secure_boot = is_secure_boot(e);
	const char *demands = e->machine.contained ? NULL : who_demands(e, secure_boot);
	const char *todo = secure_boot ? mok : none;

	if (!demands)
		return;
	if (m->read && !m->is_signed)
		doctor_say(e, SIGNATURE_NONE, m->file,
			   "%s, and %s is not signed: the kernel refuses to load it|%s", demands, m->file, todo);
	else if (m->read && find_key(e) == KEY_MISSING)
		doctor_say(e, SIGNATURE_KEY, m->file,
			   "%s, and the kernel has no key of \"%s\", who signed %s|%s", demands, m->signer,
			   m->file, todo);
	else if (!m->loaded)
		doctor_say(e, SIGNATURE_WANTED, m->file,
			   "%s: the kernel loads what is signed with a key that it knows|%s", demands,
			   secure_boot ? ask : none);
}

static void check_memory(struct exam *e)
{
	int64_t available = machine_number(&e->machine, "/proc/meminfo", "MemAvailable:");

	if (!e->module.loaded && available >= 0)
		doctor_say(e, MEMORY_AVAILABLE, "",
			   "%s are available for size=; the earlier after boot, the longer the range that is found",
			   ctl_bytes((uint64_t)available << 10));
}

void doctor_module(struct exam *e)
{
	check_loaded(e);
	check_version(e);
	check_signature(e);
	check_memory(e);
}
