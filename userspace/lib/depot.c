// SPDX-License-Identifier: MIT
/*
 * depot.c - the free objects that all threads have in common.
 *
 * A thread with a full magazine leaves half of it here, as a pack, and one with an
 * empty magazine takes a pack: both cost the same whatever the pack holds, where the
 * trees would do the work of each object. So stacks deeper than a magazine, and
 * threads that free what others allocate, stay off the trees.
 *
 * Only for the smallest classes, of which there are many objects, and only as many
 * bytes of each as a magazine may hold: the chunks of what lies here cannot go back.
 * Trimming, and a shortage, empty it.
 *
 * Everything is called with the pool's lock. What lies here is used for the trees.
 */
#include <string.h>

#include "pool.h"

#define SIZE_LIMIT	1024u

struct pack {
	struct pack *next;
	void *object[PACK];
};

/* Packs for @cache bytes of a class. */
uint32_t buddy_depot_limit(uint32_t class_granules, uint64_t cache)
{
	uint64_t packs = cache / ((uint64_t)class_granules * GRANULE * PACK);

	if (class_granules * GRANULE > SIZE_LIMIT)
		return 0;
	return packs > UINT32_MAX ? UINT32_MAX : (uint32_t)packs;
}

static struct pack *pack_create(struct buddy_pool *pool)
{
	const size_t bytes = 64 << 10;
	struct pack *pack = pool->no_packs;

	if (!pack) {
		/* these stay to the end of the pool, which finds them by page 0 */
		struct pack *page = buddy_books_alloc(bytes);

		if (!page)
			return NULL;
		page->next = pool->pack_pages;
		pool->pack_pages = page;
		for (size_t i = 1; i < bytes / sizeof(*page); i++) {
			page[i].next = pool->no_packs;
			pool->no_packs = &page[i];
		}
		pack = pool->no_packs;
	}
	pool->no_packs = pack->next;
	return pack;
}

void buddy_depot_destroy(struct buddy_pool *pool)
{
	while (pool->pack_pages) {
		struct pack *page = pool->pack_pages;

		pool->pack_pages = page->next;
		buddy_books_free(page, 64 << 10);
	}
}

/* Takes PACK objects of a class, if there is room. */
bool buddy_depot_put(struct buddy_pool *pool, uint32_t class, void *const *objects)
{
	struct depot *depot = &pool->depot[class];
	struct pack *pack;

	if (depot->packs >= depot->limit)
		return false;
	pack = pack_create(pool);
	if (!pack)
		return false;
	memcpy(pack->object, objects, sizeof(pack->object));
	pack->next = depot->first;
	depot->first = pack;
	depot->packs++;
	return true;
}

/* Gives PACK objects of a class, if there are some. */
bool buddy_depot_get(struct buddy_pool *pool, uint32_t class, void **objects)
{
	struct depot *depot = &pool->depot[class];
	struct pack *pack = depot->first;

	if (!pack)
		return false;
	memcpy(objects, pack->object, sizeof(pack->object));
	depot->first = pack->next;
	depot->packs--;
	pack->next = pool->no_packs;
	pool->no_packs = pack;
	return true;
}

void buddy_depot_empty(struct buddy_pool *pool)
{
	void *objects[PACK];

	for (uint32_t class = 1; class <= CLASSES; class++)
		while (buddy_depot_get(pool, class, objects))
			for (uint32_t i = 0; i < PACK; i++)
				buddy_object_free(pool, objects[i]);
}
