// SPDX-License-Identifier: MIT
/*
 * doctor_region.c - a region whose node opens: who has what of it, and how it is mapped.
 */
#include <inttypes.h>
#include <unistd.h>

#include "doctor.h"
#include "picture.h"

static uint64_t has(const struct picture_owner *owner, bool private_)
{
	return private_ ? owner->private_ : owner->used;
}

/* Who has the private or the used bytes, for people. */
static void name_owner(struct buddy_dev *dev, bool private_, char *text, size_t size)
{
	const struct picture_owner *most = NULL;
	char process[16];
	struct picture p;
	int count = 0;

	if (!picture_read(dev, 1, &p))
		for (int i = 0; i < p.owner_count; i++) {
			count += has(&p.owners[i], private_) > 0;
			if (!most || has(&p.owners[i], private_) > has(most, private_))
				most = &p.owners[i];
		}
	*text = 0;
	if (most && most->pid) {
		picture_process(most->pid, process);
		snprintf(text, size, "%sprocess %d (%s) has %s of it", count > 1 ? "of several, " : "",
			 most->pid, process, ctl_bytes(has(most, private_)));
	} else if (most) {
		snprintf(text, size, "processes that are not seen from here have %s of it (root on the host sees them)",
			 ctl_bytes(has(most, private_)));
	}
	picture_free(&p);
}

/*
 * Each open file takes whole units of 2 MiB for its small blocks: files with little in
 * them can have all of a region between them, of which others get nothing.
 */
static bool is_held_private(const struct buddy_stats *s)
{
	return s->out_private >= s->out_region / 4 && s->out_free < s->out_region / 16;
}

static void check_space(struct exam *e, struct buddy_dev *dev, const struct buddy_info *info,
			const struct buddy_stats *s, const char *path)
{
	char owner[160];

	if (is_held_private(s)) {
		name_owner(dev, true, owner, sizeof(owner));
		doctor_say(e, REGION_PRIVATE, path,
			   "%s: %s of %s are free, and %s are private: free, but in 2 MiB units that open files took for blocks below 2 MiB; %s|"
			   "end that process, or have it open the device once: its small blocks then share units",
			   path, ctl_bytes(s->out_free), ctl_bytes(s->out_region),
			   ctl_bytes(s->out_private), owner);
	} else if (!s->out_free) {
		name_owner(dev, false, owner, sizeof(owner));
		doctor_say(e, REGION_FULL, path, "%s: nothing of %s is free; %s|buddyctl map shows all owners", path,
			   ctl_bytes(s->out_region), owner);
	} else {
		doctor_say(e, REGION_FREE, path, "%s: %s, of which %s are free; node %d, aligned to %s", path,
			   ctl_bytes(s->out_region), ctl_bytes(s->out_free), info->out_node,
			   ctl_bytes(info->out_base_align));
	}
}

static void check_blocks(struct exam *e, const struct buddy_stats *s, const char *path)
{
	if (s->out_fails && s->out_fragmentation > 500)
		doctor_say(e, FRAGMENTED, path,
			   "%s: %" PRIu64 " allocations found no memory, and the largest range is %s|buddyctl map shows who is in the way; BUDDY_ALLOC_SCATTER needs no single range",
			   path, (uint64_t)s->out_fails, ctl_bytes(s->out_largest));
	if (s->out_quarantined)
		doctor_say(e, QUARANTINED, path,
			   "%s: %s are in quarantine: they were released while the kernel or a device had them pinned (O_DIRECT, io_uring, RDMA, a pipe)|they are reclaimed when that ends",
			   path, ctl_bytes(s->out_quarantined));
	if (s->out_reserved)
		doctor_say(e, POISONED, path,
			   "%s: %s are in retired blocks, which have a poisoned page, until the module is unloaded|look for hardware errors in the kernel's log",
			   path, ctl_bytes(s->out_reserved));
}

static void check_huge(struct exam *e, const struct buddy_info *info, const char *path)
{
	if (info->out_features & BUDDY_FEATURE_HUGE)
		doctor_say(e, HUGE_MAPPED, path, "blocks of 2 MiB and more are mapped by huge pages");
	else if (!machine_has(&e->machine, "/sys/kernel/mm/transparent_hugepage") ||
		 sysconf(_SC_PAGESIZE) != 4096)
		doctor_say(e, HUGE_NOT_BUILT, path,
			   "blocks are mapped by small pages: the kernel %s is built without huge pages of 2 MiB|"
			   "a kernel with CONFIG_TRANSPARENT_HUGEPAGE and pages of 4 KiB has them (those with PREEMPT_RT have not)",
			   e->machine.release);
	else
		doctor_say(e, HUGE_OTHER_KERNEL, path,
			   "blocks are mapped by small pages: with the kernel %s the module has no huge ones|kernels 6.12 and 7.3 have them",
			   e->machine.release);
}

void doctor_region(struct exam *e, struct buddy_dev *dev, const char *path)
{
	struct buddy_info info;
	struct buddy_stats stats;

	if (buddy_dev_info(dev, &info) || buddy_dev_stats(dev, &stats)) {
		doctor_say(e, REGION_SILENT, path, "%s: the device does not answer|look at the kernel's log", path);
		return;
	}
	check_space(e, dev, &info, &stats, path);
	check_blocks(e, &stats, path);
	if (!e->huge++)	/* the same for all regions */
		check_huge(e, &info, path);
}
