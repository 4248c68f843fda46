// SPDX-License-Identifier: MIT
/*
 * doctor.c - buddyctl doctor: what is wrong, and what to do about it.
 *
 * Each check looks at one thing and says one line for each condition that it meets; the
 * table below has all conditions. What cannot be judged because of an earlier trouble is
 * not asked. Exit status 1 if a check found trouble.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "doctor.h"

enum verdict { GOOD, NOTE, TROUBLE };

/*
 * The names are an interface (--json). Trouble: something does not work, or is not what
 * the administrator has set up. Note: it works, and one may want to know.
 */
static const struct row {
	const char *check, *name;
	enum verdict verdict;
} rows[] = {
	[CONTAINER] = { "container", "container", NOTE },
	[MODULE_UNKNOWN] = { "module", "unknown", NOTE },
	[MODULE_LOADED] = { "module", "loaded", GOOD },
	[MODULE_CHANGING] = { "module", "changing", NOTE },
	[MODULE_NOT_LOADED] = { "module", "not-loaded", TROUBLE },
	[MODULE_FORBIDDEN] = { "module", "forbidden", TROUBLE },
	[MODULE_UNLISTED] = { "module", "unlisted", TROUBLE },
	[MODULE_NOT_INSTALLED] = { "module", "not-installed", TROUBLE },
	[MODULE_OTHER_KERNEL] = { "module", "other-kernel", TROUBLE },
	[MODULE_BY_HAND] = { "module", "by-hand", NOTE },
	[MODULE_HOST] = { "module", "host", TROUBLE },
	[VERSION_OLD] = { "version", "old-loaded", TROUBLE },
	[VERSION_COMMAND] = { "version", "command", NOTE },
	[PARAMETER_UNKNOWN] = { "parameter", "unknown", TROUBLE },
	[PARAMETER_VALUE] = { "parameter", "bad-value", TROUBLE },
	[PARAMETER_OTHER_MODULE] = { "parameter", "other-module", TROUBLE },
	[PARAMETER_NOT_IN_EFFECT] = { "parameter", "not-in-effect", NOTE },
	[SIGNATURE_NONE] = { "signature", "unsigned", TROUBLE },
	[SIGNATURE_KEY] = { "signature", "unknown-key", TROUBLE },
	[SIGNATURE_WANTED] = { "signature", "wanted", NOTE },
	[BOOT_LOADS] = { "boot", "loads", GOOD },
	[BOOT_COMMENTED] = { "boot", "commented", NOTE },
	[BOOT_MISSING] = { "boot", "missing", NOTE },
	[BOOT_NAME] = { "boot", "other-name", TROUBLE },
	[BOOT_BLACKLISTED] = { "boot", "blacklisted", TROUBLE },
	[MEMORY_AVAILABLE] = { "memory", "available", GOOD },
	[NODE_OPENS] = { "node", "opens", GOOD },
	[NODE_MISSING] = { "node", "missing", TROUBLE },
	[NODE_PRIVATE_DEV] = { "node", "private-dev", TROUBLE },
	[NODE_NO_DEVICE] = { "node", "no-device", TROUBLE },
	[NODE_LEFTOVER] = { "node", "leftover", TROUBLE },
	[NODE_STALE] = { "node", "stale", TROUBLE },
	[NODE_NO_DRIVER] = { "node", "no-driver", TROUBLE },
	[NODE_UNMAPPED_GROUP] = { "node", "unmapped-group", TROUBLE },
	[NODE_LOGIN] = { "node", "log-in-again", TROUBLE },
	[NODE_GROUP] = { "node", "not-in-group", TROUBLE },
	[NODE_ROOT_ONLY] = { "node", "root-only", TROUBLE },
	[NODE_MODE] = { "node", "mode", TROUBLE },
	[NODE_NODEV] = { "node", "nodev", TROUBLE },
	[NODE_SECURITY] = { "node", "security-module", TROUBLE },
	[NODE_CGROUP] = { "node", "cgroup", TROUBLE },
	[NODE_OTHER_DRIVER] = { "node", "other-driver", TROUBLE },
	[NODE_ABI] = { "node", "abi", TROUBLE },
	[NODE_FAILED] = { "node", "failed", TROUBLE },
	[REGION_SILENT] = { "region", "silent", TROUBLE },
	[REGION_FREE] = { "region", "free", GOOD },
	[REGION_FULL] = { "region", "full", NOTE },
	[REGION_PRIVATE] = { "region", "private", TROUBLE },
	[FRAGMENTED] = { "fragments", "fragmented", NOTE },
	[QUARANTINED] = { "quarantine", "quarantined", NOTE },
	[POISONED] = { "poisoned", "poisoned", NOTE },
	[HUGE_MAPPED] = { "huge pages", "mapped", GOOD },
	[HUGE_NOT_BUILT] = { "huge pages", "not-built", NOTE },
	[HUGE_OTHER_KERNEL] = { "huge pages", "other-kernel", NOTE },
};

static const char *const verdicts[] = { "ok", "note", "trouble" };

static void put_member(const char *name, const char *text)
{
	printf(", \"%s\": ", name);
	ctl_print_string(text);
}

static void put_json(struct exam *e, const struct row *row, const char *subject,
		     const char *seen, const char *todo)
{
	printf("%s\n  { \"check\": \"%s\", \"condition\": \"%s\", \"verdict\": \"%s\"",
	       e->said ? "," : "", row->check, row->name, verdicts[row->verdict]);
	put_member("subject", subject);
	put_member("seen", seen);
	put_member("do", todo);
	fputs(" }", stdout);
}

void doctor_say(struct exam *e, enum condition condition, const char *subject,
		const char *format, ...)
{
	const struct row *row = &rows[condition];
	char text[1024], *todo;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	todo = strchr(text, '|');
	if (todo)
		*todo++ = 0;
	if (e->ctl->format == CTL_JSON) {
		put_json(e, row, subject, text, todo ? todo : "");
	} else {
		printf("%-8s %-12s %s\n", verdicts[row->verdict], row->check, text);
		if (todo)
			printf("%-8s %-12s -> %s\n", "", "", todo);
	}
	e->said++;
	e->trouble += row->verdict == TROUBLE;
}

int ctl_doctor(const struct ctl *ctl)
{
	struct exam e = { .ctl = ctl };

	if (ctl->plan)
		return ctl_plan(ctl);
	machine_init(&e.machine, ctl->root ? ctl->root : "");
	machine_module(&e.machine, &e.module);
	if (ctl->format == CTL_JSON)
		putchar('[');
	doctor_module(&e);
	doctor_settings(&e);
	doctor_nodes(&e);
	if (ctl->format == CTL_JSON)
		puts("\n]");
	return e.trouble ? CTL_SAID + 1 : 0;
}
