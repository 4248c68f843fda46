// SPDX-License-Identifier: GPL-2.0-only
/*
 * region.c - the memory itself: found, taken, zeroed, and given back.
 *
 * Owns the memory of a region from load to unload: folios of 2 MiB, or order-0
 * pages, each with one reference of ours. It comes from alloc_contig_range(), in
 * steps, within one zone: ZONE_NORMAL, then ZONE_DMA32, then (not on x86) ZONE_DMA.
 * Never from ZONE_MOVABLE or CMA, where long-term pins fail.
 *
 * Also makes the inodes whose address spaces hold the mappings. Nothing is written
 * into a struct page or folio but folio->index.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/memory_hotplug.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "buddy.h"
#include "compat.h"

/*
 * Pages taken by one call. Each call drains per-CPU lists on every CPU, so
 * many small ones are slow; but between two calls a load can be killed, and
 * where a call fails, smaller ones tell which unit it was.
 */
#define STEP_PAGES	((64ul << 20) >> PAGE_SHIFT)

/* A page that alloc_contig_range() may be asked for: it oopses on holes. */
static bool page_is_candidate(unsigned long pfn, const struct zone *zone)
{
	struct page *page = pfn_to_online_page(pfn);

	return page && page_zone(page) == zone && !PageReserved(page) &&
	       !PageHuge(page);
}

/* The lowest start from which all pages up to @end are candidates. */
static unsigned long lowest_candidate(unsigned long start, unsigned long end,
				      const struct zone *zone)
{
	while (end > start && page_is_candidate(end - 1, zone)) {
		end--;
		if (!(end % (1ul << 16)))
			cond_resched();
	}
	return end;
}

/*
 * A folio with a poisoned page stays taken: not every kernel keeps that page
 * apart when it frees a folio. Order-0 pages it does.
 */
static bool unit_is_poisoned(unsigned long pfn)
{
	for (u32 i = 0; i < BUDDY_UNIT_PAGES; i++)
		if (PageHWPoison(pfn_to_page(pfn + i)))
			return true;
	return false;
}

static void put_pages(unsigned long start, unsigned long end, bool folios)
{
	for (unsigned long pfn = start; pfn < end;
	     pfn += folios ? BUDDY_UNIT_PAGES : 1) {
		if (!folios || !unit_is_poisoned(pfn))
			put_page(pfn_to_page(pfn));
		if (!(pfn % BUDDY_UNIT_PAGES))
			cond_resched();
	}
}

/* Return: 0, -EBUSY, -EINTR, or another errno of alloc_contig_range(). */
static int take_step(unsigned long start, unsigned long end, bool folios)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (!folios)
		return alloc_contig_range(start, end, ACR_FLAGS_NONE,
					  GFP_KERNEL | __GFP_NOWARN);
	return buddy_alloc_folio_range(start, end,
				       GFP_KERNEL | __GFP_COMP | __GFP_NOWARN);
}

/*
 * Takes start .. end from the top down; all or nothing.
 * Return: 0; -EINTR when killed; -EBUSY, with the start of the highest unit
 * that could not be had in @failed.
 */
static int take_window(unsigned long start, unsigned long end, bool folios,
		       unsigned long *failed)
{
	/* a folio is what one call made */
	const unsigned long most = folios ? BUDDY_UNIT_PAGES : STEP_PAGES;
	unsigned long got = end, step = most;
	int err = 0;

	while (got > start) {
		step = min(step, got - start);
		err = take_step(got - step, got, folios);
		if (err == -EINTR || (err && step <= BUDDY_UNIT_PAGES))
			break;
		if (err) {
			step = ALIGN(step / 2, BUDDY_UNIT_PAGES);
		} else {
			got -= step;
			step = most;
		}
		cond_resched();
	}
	if (!err)
		return 0;
	put_pages(got, end, folios);
	*failed = got - step;
	return err == -EINTR ? err : -EBUSY;
}

/**
 * take_from_zone() - take @pages contiguous pages of a zone, the highest first
 * @zone: the zone
 * @pages: length
 * @align: alignment of the first page, in pages, a power of two
 * @folios: as folios, one a unit
 * @pfn: the first page
 *
 * Return: 0, -EBUSY, -EINTR.
 */
static int take_from_zone(const struct zone *zone, unsigned long pages,
			  unsigned long align, bool folios, unsigned long *pfn)
{
	unsigned long end = zone_end_pfn(zone);
	unsigned long checked = end;	/* from here to @end all are candidates */

	while (end >= pages) {
		unsigned long start = round_down(end - pages, align);
		unsigned long lowest, failed;
		int err;

		if (start < zone->zone_start_pfn)
			break;
		end = start + pages;
		lowest = lowest_candidate(start, min(end, checked), zone);
		if (fatal_signal_pending(current))
			return -EINTR;
		if (lowest > start) {
			/* the page below @lowest cannot be had */
			end = lowest - 1;
			checked = end;
			continue;
		}
		checked = start;
		err = take_window(start, end, folios, &failed);
		if (!err) {
			*pfn = start;
			return 0;
		}
		if (err == -EINTR)
			return err;
		end = failed;
	}
	return -EBUSY;
}

/* Naturally aligned if that can be had, so that blocks are too. */
static int take_from_node(int nid, struct buddy_region *region)
{
	static const enum zone_type zones[] = {
		ZONE_NORMAL,
#ifdef CONFIG_ZONE_DMA32
		ZONE_DMA32,
#endif
		/* On arm64 all that is below 4 GiB; on x86 16 MiB for ISA. */
#if defined(CONFIG_ZONE_DMA) && !defined(CONFIG_X86)
		ZONE_DMA,
#endif
	};
	unsigned long best = min(rounddown_pow_of_two(region->pages) << PAGE_SHIFT,
				 BUDDY_MAX_ALIGN);
	unsigned long aligns[] = { best, BUDDY_UNIT };

	for (int a = 0; a < ARRAY_SIZE(aligns); a++) {
		for (int z = 0; z < ARRAY_SIZE(zones); z++) {
			const struct zone *zone =
				&NODE_DATA(nid)->node_zones[zones[z]];
			int err = take_from_zone(zone, region->pages,
						 aligns[a] >> PAGE_SHIFT,
						 region->folios,
						 &region->base_pfn);

			if (!err)
				region->base_align = aligns[a];
			if (err != -EBUSY)
				return err;
		}
	}
	return -EBUSY;
}

static int take_pages(struct buddy_region *region, int wanted)
{
	int nid, err = -EBUSY;

	if (wanted != NUMA_NO_NODE &&
	    (wanted < 0 || wanted >= MAX_NUMNODES || !node_online(wanted)))
		return -EINVAL;
	for_each_online_node(nid) {
		if (wanted != NUMA_NO_NODE && wanted != nid)
			continue;
		region->node = nid;
		err = take_from_node(nid, region);
		if (err != -EBUSY)
			break;
	}
	return err == -EBUSY ? -ENOMEM : err;
}

static int make_tree(struct buddy_region *region)
{
	u32 units = region->pages / BUDDY_UNIT_PAGES;

	region->core_mem = kvzalloc_node(buddy_core_bytes(units), GFP_KERNEL,
					 region->node);
	region->units = kvcalloc(units, sizeof(*region->units), GFP_KERNEL);
	if (!region->core_mem || !region->units)
		return -ENOMEM;
	return buddy_core_init(&region->core, units, region->core_mem);
}

static void free_tree(struct buddy_region *region)
{
	kvfree(region->units);
	kvfree(region->core_mem);
}

/*
 * The address space
 */

#define BUDDY_FS_MAGIC	0x62756464	/* "budd" */

static int buddy_fs_init(struct fs_context *fc)
{
	return init_pseudo(fc, BUDDY_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No .owner: the mount below would pin the module for ever. */
static struct file_system_type buddy_fs_type = {
	.name			= "buddy_mem",
	.init_fs_context	= buddy_fs_init,
	.kill_sb		= kill_anon_super,
};

static struct vfsmount *buddy_mount;

/**
 * buddy_region_init() - at load, before any region
 *
 * Return: 0 or a negative errno.
 */
int buddy_region_init(void)
{
	buddy_mount = kern_mount(&buddy_fs_type);
	return PTR_ERR_OR_ZERO(buddy_mount);
}

/**
 * buddy_region_exit() - at unload, after all regions
 */
void buddy_region_exit(void)
{
	kern_unmount(buddy_mount);
}

/**
 * buddy_region_inode() - a new address space for mappings of a region
 *
 * Return: an inode, for iput(); or a negative errno.
 */
struct inode *buddy_region_inode(void)
{
	struct inode *inode = alloc_anon_inode(buddy_mount->mnt_sb);

	/*
	 * Only inside this does the kernel map whole folios. Beyond the region are
	 * the places of scattered blocks.
	 */
	if (!IS_ERR(inode))
		i_size_write(inode, MAX_LFS_FILESIZE);
	return inode;
}

/* Where a folio lies in the address space: rmap looks there. */
static void index_folios(struct buddy_region *region)
{
	for (u32 page = 0; page < region->pages; page += BUDDY_UNIT_PAGES)
		page_folio(buddy_region_page(region, page))->index =
			BUDDY_MMAP_BASE_PAGES + page;
}

/**
 * buddy_region_create() - take memory and make a region of it
 * @bytes: length, a multiple of BUDDY_UNIT
 * @node: NUMA node, or NUMA_NO_NODE for any
 * @index: 0 for /dev/buddy, N for /dev/buddyN
 *
 * All of it is zeroed. May sleep for seconds; can be killed.
 *
 * Return: the region; -EINVAL (no such node), -ENOMEM, -EINTR.
 */
struct buddy_region *buddy_region_create(unsigned long bytes, int node,
					 int index)
{
	struct buddy_region *region = kzalloc(sizeof(*region), GFP_KERNEL);
	u64 began = ktime_get_ns();
	int err = -ENOMEM;

	if (!region)
		return ERR_PTR(-ENOMEM);
	region->pages = bytes >> PAGE_SHIFT;
	region->folios = BUDDY_FOLIOS;
	snprintf(region->name, sizeof(region->name), index ? "buddy%d" : "buddy",
		 index);
	err = take_pages(region, node);
	if (err)
		goto free_region;
	err = make_tree(region);
	if (err)
		goto free_tree;
	region->inode = buddy_region_inode();
	err = PTR_ERR_OR_ZERO(region->inode);
	if (err)
		goto free_tree;
	if (region->folios)
		index_folios(region);
	err = -EINTR;
	if (!buddy_zero_pages(region, 0, region->pages, true))
		goto put_inode;
	spin_lock_init(&region->lock);
#ifdef CONFIG_LOCKDEP
	buddy_core_set_owner(&region->core, &region->lock.dep_map);
#endif
	region->blocks = RB_ROOT;
	ida_init(&region->places);
	buddy_reclaim_start(region);
	pr_info("/dev/%s: %lu MiB on node %d, aligned to %lu MiB, in %s, taken in %llu ms\n",
		region->name, bytes >> 20, region->node, region->base_align >> 20,
		region->folios ? "2 MiB folios" : "single pages",
		div_u64(ktime_get_ns() - began, NSEC_PER_MSEC));
	return region;

put_inode:
	iput(region->inode);
free_tree:
	free_tree(region);
	put_pages(region->base_pfn, region->base_pfn + region->pages,
		  region->folios);
free_region:
	if (err == -ENOMEM)
		pr_notice("no %lu MiB of contiguous memory; free some, take a smaller size= or load the module earlier\n",
			  bytes >> 20);
	if (err == -EINVAL)
		pr_notice("node=%d: no such node\n", node);
	kfree(region);
	return ERR_PTR(err);
}

/**
 * buddy_region_destroy() - give the memory back
 * @region: no file of it is open
 *
 * Pages that somebody still holds become free with that reference.
 */
void buddy_region_destroy(struct buddy_region *region)
{
	buddy_reclaim_stop(region);
	WARN_ON_ONCE(region->core.free != region->core.granules ||
		     region->core.allocs != region->core.frees ||
		     region->allocs != region->frees || region->private ||
		     !ida_is_empty(&region->places));
	ida_destroy(&region->places);
	iput(region->inode);
	put_pages(region->base_pfn, region->base_pfn + region->pages,
		  region->folios);
	free_tree(region);
	kfree(region);
}
