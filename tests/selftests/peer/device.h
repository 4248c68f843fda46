/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * device.h - what the files of buddy_peer.ko share.
 *
 * Lock: peer_file.lock, over everything that a file has; taken by each command.
 */
#ifndef BUDDY_PEER_DEVICE_H
#define BUDDY_PEER_DEVICE_H

#include <linux/dma-direction.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>

#include "peer.h"

struct device;
struct dma_buf_attachment;
struct sg_table;

/**
 * struct peer_file - an open file
 * @lock: protects all below
 * @pages: the pinned pages, or NULL
 * @pinned: their number
 * @writable: pinned for writing
 * @attachment: to the dma-buf, of which it holds a reference; or NULL
 * @sgt: the dma-buf mapped for the device
 * @direction: DMA_BIDIRECTIONAL or, of a device that only reads, DMA_TO_DEVICE
 */
struct peer_file {
	struct mutex lock;	/* protects all below */
	struct page **pages;
	unsigned long pinned;
	bool writable;

	struct dma_buf_attachment *attachment;
	struct sg_table *sgt;
	enum dma_data_direction direction;
};

/**
 * struct peer_walk - a FILL or CHECK on its way through memory
 * @range: what the caller wants; out_bad and out_first grow as it goes
 * @write: FILL
 * @done: bytes of the range that were served
 */
struct peer_walk {
	struct peer_range *range;
	bool write;
	u64 done;
};

/* main.c */
struct device *peer_device(void);
int peer_walk_chunk(struct peer_walk *walk, void *memory, size_t bytes);

/* pin.c */
int peer_pin(struct peer_file *peer, const struct peer_pin *pin);
int peer_unpin(struct peer_file *peer);
int peer_pin_walk(struct peer_file *peer, struct peer_walk *walk);

/* import.c */
int peer_import(struct peer_file *peer, struct peer_import *import);
int peer_detach(struct peer_file *peer);
int peer_sync(struct peer_file *peer, u32 flags);
int peer_import_walk(struct peer_file *peer, struct peer_walk *walk);

#endif /* BUDDY_PEER_DEVICE_H */
