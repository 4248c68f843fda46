// SPDX-License-Identifier: GPL-2.0-only
/*
 * region_kunit.c - the memory of a region: what it is made of, and that it goes.
 */
#include <linux/mm.h>

#include "tap.h"
#include "world.h"

static void is_contiguous_and_ours(void)
{
	struct buddy_region *region = world_region;
	unsigned long bad = 0;

	expect_eq(region->pages, WORLD_UNITS * BUDDY_UNIT_PAGES);
	expect_eq(region->base_pfn % (region->base_align >> PAGE_SHIFT), 0);
	for (u32 i = 0; i < region->pages; i++) {
		struct page *page = buddy_region_page(region, i);

		bad += page_to_pfn(page) != region->base_pfn + i;
		bad += page_to_nid(page) != region->node;
		bad += page_zonenum(page) == ZONE_MOVABLE;
		bad += is_zone_device_page(page);
		bad += page_count(page) != 1;
		bad += folio_mapped(page_folio(page));
	}
	expect_eq(bad, 0);
}

static void is_zero(void)
{
	for (u32 i = 0; i < world_region->pages; i++)
		if (memchr_inv(page_address(buddy_region_page(world_region, i)), 0,
			       PAGE_SIZE))
			expect(!"a page of a new region is not zero");
}

static void is_made_of_units(void)
{
	struct buddy_region *region = world_region;

	if (!region->folios)
		skip("this kernel gives no folios");
	for (u32 i = 0; i < region->pages; i += BUDDY_UNIT_PAGES) {
		struct folio *folio = page_folio(buddy_region_page(region, i));

		expect(&folio->page == buddy_region_page(region, i));
		expect_eq(folio_order(folio), BUDDY_UNIT_ORDER);
		expect_eq(folio->index, BUDDY_MMAP_BASE_PAGES + i);
		expect(!folio->mapping);
	}
}

static void refuses(void)
{
	expect_eq(PTR_ERR(buddy_region_create(BUDDY_UNIT, 77, 6, NULL)), -EINVAL);
	expect_eq(PTR_ERR(buddy_region_create(BUDDY_UNIT, -7, 6, NULL)), -EINVAL);
	expect_eq(PTR_ERR(buddy_region_create(1ul << 40, NUMA_NO_NODE, 6, NULL)), -ENOMEM);
}

/* A range of the length that was told can be had, and none that is longer. */
static void tells_the_largest(void)
{
	struct buddy_window largest = { 0 }, less = { 0 };
	struct buddy_region *region;

	region = buddy_region_create(1ul << 40, NUMA_NO_NODE, 6, &largest);
	expect_eq(PTR_ERR(region), -ENOMEM);
	expect(largest.pages >= BUDDY_UNIT_PAGES);
	expect_eq(largest.pages % BUDDY_UNIT_PAGES, 0);
	expect(buddy_window_has_node(largest.node));
	region = buddy_region_create(largest.pages << PAGE_SHIFT, largest.node, 6, &less);
	expect(!IS_ERR(region));
	expect_eq(less.pages, 0);
	if (!IS_ERR(region))
		buddy_region_destroy(region);
}

/* The largest range is taken, and put back but for its first page: what is now the largest? */
static unsigned long largest_beside_a_page(struct buddy_region *region)
{
	const unsigned long any = 1ul << 28;
	struct buddy_window largest, rest;
	struct page *first;

	buddy_window_measure(NUMA_NO_NODE, any, &largest);
	region->pages = largest.pages;
	if (buddy_window_take(region, largest.node, NULL))
		return 0;
	first = pfn_to_page(region->base_pfn);
	get_page(first);
	buddy_window_put(region);
	buddy_window_measure(NUMA_NO_NODE, any, &rest);
	put_page(first);
	printf("%lu MiB, then %lu MiB\n", largest.pages >> 8, rest.pages >> 8);
	return rest.pages;
}

/*
 * To the unit, for a range that ends at a page which is in use. What else is in use
 * changes a little meanwhile: five tries.
 */
static void the_largest_is_exact(void)
{
	struct buddy_region *region = kunit_kzalloc(tap_test, sizeof(*region), GFP_KERNEL);
	bool exact = false;

	KUNIT_ASSERT_NOT_NULL(tap_test, region);
	region->folios = world_region->folios;
	for (int i = 0; i < 5 && !exact; i++)
		exact = largest_beside_a_page(region) == region->pages - BUDDY_UNIT_PAGES;
	expect(exact);
}

/* Parameters that are refused before anything is taken, and those that are not. */
static void plans(void)
{
	static const int node_0[] = { 0, 0 }, node_77[] = { 77 };
	char *texts[2];
	struct buddy_plan plan = { .sizes = texts, .nr_sizes = 2 };

	texts[0] = "16M";
	texts[1] = "2M";
	expect_eq(buddy_plan_check(&plan), 0);
	expect_eq(plan.bytes[0], 16 * SZ_1M);
	expect_eq(buddy_plan_node(&plan, 1), NUMA_NO_NODE);
	plan.nodes = node_0;
	plan.nr_nodes = 1;
	expect_eq(buddy_plan_check(&plan), -EINVAL);
	plan.nr_nodes = 2;
	expect_eq(buddy_plan_check(&plan), 0);
	expect_eq(buddy_plan_node(&plan, 1), 0);
	texts[1] = "1T";
	expect_eq(buddy_plan_check(&plan), -ENOMEM);
	plan.force = true;
	expect_eq(buddy_plan_check(&plan), 0);
	texts[1] = "4";
	expect_eq(buddy_plan_check(&plan), -EINVAL);
	buddy_plan_failed(&plan, 0, &(struct buddy_window){ 0, 0 });
	/* there was such a range: something else was short */
	buddy_plan_failed(&plan, 0, &(struct buddy_window){ 0, 1 << 20 });
	plan.nr_sizes = 1;
	plan.nodes = node_77;
	plan.nr_nodes = 1;
	expect_eq(buddy_plan_check(&plan), -EINVAL);
}

static void shares(void)
{
	static const u64 rows[][3] = { { 10, 10, 10 }, { 1, 100, 1 }, { 7, 3, 50 } };

	for (int r = 0; r < ARRAY_SIZE(rows); r++) {
		const u64 *has = rows[r];
		u64 share[3];

		for (u64 units = 0; units <= has[0] + has[1] + has[2]; units++) {
			buddy_plan_share(units, has, 3, share);
			expect_eq(share[0] + share[1] + share[2], units);
			expect(share[0] <= has[0] && share[1] <= has[1] &&
			       share[2] <= has[2]);
		}
	}
}

/* Sizes that are no power of two; two at a time, with no page in both. */
static void of_any_size(void)
{
	for (unsigned long units = 1; units <= 7; units += 2) {
		struct buddy_region *region =
			buddy_region_create(units * BUDDY_UNIT, NUMA_NO_NODE, 6, NULL);

		expect(!IS_ERR(region));
		if (IS_ERR(region))
			return;
		expect_eq(region->pages, units * BUDDY_UNIT_PAGES);
		expect_eq(region->place.core.free, units);
		expect(region->base_pfn + region->pages <= world_region->base_pfn ||
		       world_region->base_pfn + world_region->pages <=
			       region->base_pfn);
		buddy_region_destroy(region);
	}
}

/*
 * Each allocation of a new region fails once (tests/kunit/run has set fault injection
 * up): there is a region, or nothing is left of it.
 */
#ifdef CONFIG_FAULT_INJECTION
static void each_allocation_fails(void)
{
	int refused = 0, n = 0;
	bool failed = true;

	while (failed && ++n < 1000) {
		struct buddy_region *region;

		current->fail_nth = n;
		region = buddy_region_create(2 * BUDDY_UNIT, NUMA_NO_NODE, 6, NULL);
		failed = !current->fail_nth;
		current->fail_nth = 0;
		if (!IS_ERR(region)) {
			buddy_region_destroy(region);
		} else {
			expect_eq(PTR_ERR(region), -ENOMEM);
			refused++;
		}
	}
	printf("%d failed once, %d of them told\n", n - 1, refused);
	expect(refused >= 4);
}
#else
static void each_allocation_fails(void)
{
	skip("no fault injection in this kernel");
}
#endif

static const struct tap_case region_cases[] = {
	{ "contiguous, and one reference each", is_contiguous_and_ours },
	{ "zero", is_zero },
	{ "units are folios", is_made_of_units },
	{ "bad sizes and nodes", refuses },
	{ "the largest range is told", tells_the_largest },
	{ "the largest range, to the unit", the_largest_is_exact },
	{ "plans", plans },
	{ "shares of nodes", shares },
	{ "of any size", of_any_size },
	{ "each allocation fails once", each_allocation_fails },
};

WORLD_SUITE(region);
