// SPDX-License-Identifier: GPL-2.0-only
/*
 * pin.c - memory of a process, pinned by its page tables as they are at the call.
 *
 * From then on the pages are ours whatever becomes of the mapping, the block and
 * the process, until they are unpinned; they are then marked dirty where the
 * device may have written, as drivers do.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "device.h"

#define BATCH	512	/* pages a call, with a look for SIGKILL between them */

static int check_pin(const struct peer_pin *pin)
{
	if (pin->flags & ~(PEER_WRITE | PEER_LONGTERM) || pin->reserved)
		return -EINVAL;
	if (!PAGE_ALIGNED(pin->address) || !PAGE_ALIGNED(pin->length))
		return -EINVAL;
	if (!pin->length || pin->length > PEER_MAX)
		return -EINVAL;
	/* What wraps around, each kernel answers in its own way. */
	if (!access_ok((void __user *)pin->address, pin->length))
		return -EFAULT;
	return 0;
}

/* Pins up to @wanted pages, peer->pinned of them on return. */
static int pin_pages(struct peer_file *peer, const struct peer_pin *pin,
		     unsigned long wanted)
{
	unsigned int flags = 0;

	if (pin->flags & PEER_WRITE)
		flags |= FOLL_WRITE;
	if (pin->flags & PEER_LONGTERM)
		flags |= FOLL_LONGTERM;
	while (peer->pinned < wanted) {
		unsigned long n = min(wanted - peer->pinned, BATCH + 0ul);
		int got;

		if (fatal_signal_pending(current))
			return -EINTR;
		got = pin_user_pages_fast(pin->address +
					  (peer->pinned << PAGE_SHIFT),
					  n, flags, peer->pages + peer->pinned);
		if (got <= 0)
			return got ?: -EFAULT;
		peer->pinned += got;
		cond_resched();
	}
	return 0;
}

/**
 * peer_pin() - pin memory of the caller for this file
 * @peer: the file
 * @pin: what the caller wants
 *
 * Return: 0; -EINVAL, -EFAULT, -EBUSY, -EINTR as in peer.h; -ENOMEM.
 */
int peer_pin(struct peer_file *peer, const struct peer_pin *pin)
{
	unsigned long wanted = pin->length >> PAGE_SHIFT;
	int err = check_pin(pin);

	lockdep_assert_held(&peer->lock);
	if (err)
		return err;
	if (peer->pages)
		return -EBUSY;
	peer->pages = kvcalloc(wanted, sizeof(*peer->pages), GFP_KERNEL_ACCOUNT);
	if (!peer->pages)
		return -ENOMEM;
	peer->writable = pin->flags & PEER_WRITE;
	err = pin_pages(peer, pin, wanted);
	if (err)
		peer_unpin(peer);
	return err;
}

/**
 * peer_unpin() - let go of all that is pinned
 * @peer: the file
 *
 * Return: 0, or -ENXIO where nothing is.
 */
int peer_unpin(struct peer_file *peer)
{
	lockdep_assert_held(&peer->lock);
	if (!peer->pages)
		return -ENXIO;
	unpin_user_pages_dirty_lock(peer->pages, peer->pinned, peer->writable);
	kvfree(peer->pages);
	peer->pages = NULL;
	peer->pinned = 0;
	return 0;
}

/**
 * peer_pin_walk() - fill or check a range of the pinned pages
 * @peer: the file
 * @walk: the range; nothing is done yet
 *
 * Return: 0; -ENXIO, -EINVAL, -EACCES or -EINTR as in peer.h.
 */
int peer_pin_walk(struct peer_file *peer, struct peer_walk *walk)
{
	u64 size = (u64)peer->pinned << PAGE_SHIFT;
	struct peer_range *range = walk->range;
	int err = 0;

	lockdep_assert_held(&peer->lock);
	if (!peer->pages)
		return -ENXIO;
	if (range->offset > size || range->length > size - range->offset)
		return -EINVAL;
	if (walk->write && !peer->writable)
		return -EACCES;
	while (!err && walk->done < range->length) {
		u64 at = range->offset + walk->done;
		size_t in_page = offset_in_page(at);
		size_t n = min_t(u64, PAGE_SIZE - in_page,
				 range->length - walk->done);

		/* x86-64: there is no highmem */
		err = peer_walk_chunk(walk, page_address(peer->pages[at >> PAGE_SHIFT]) +
				      in_page, n);
	}
	return err;
}
