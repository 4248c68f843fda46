/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * peer.h - the interface of /dev/buddy_peer (module buddy_peer, for tests only):
 * a device that pins the memory of processes and imports dma-bufs.
 *
 * What a command sets up belongs to the open file and ends with it.
 *
 * Members named out_ are written by the kernel. Errors of all commands:
 *
 *   EINVAL   a member is wrong: an unknown flag; of a pin no whole pages, none,
 *            or more than PEER_MAX; of a range not a multiple of 8, or not inside
 *   EBUSY    this file has a pin, or an import, already
 *   ENXIO    this file has none
 *   EBADF    IMPORT: no open descriptor (one that is no dma-buf: EINVAL)
 *   EFAULT   PIN: not all of it can be pinned like this, and nothing was; all:
 *            the struct cannot be read or written
 *   EACCES   FILL: the pin, or the import, is not for writing
 *   EINTR    killed
 *   ENOTTY   no such command
 *
 * and whatever an exporter answers to IMPORT and SYNC.
 */
#ifndef BUDDY_PEER_H
#define BUDDY_PEER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Bytes of the longest pin. */
#define PEER_MAX	(1ULL << 30)

/* The device writes, too. */
#define PEER_WRITE	(1U << 0)
/* As RDMA and VFIO pin (FOLL_LONGTERM), not as O_DIRECT does. */
#define PEER_LONGTERM	(1U << 1)

/**
 * struct peer_pin - PEER_PIN: pin memory of the caller
 * @address: of whole pages
 * @length: bytes, whole pages
 * @flags: PEER_WRITE, PEER_LONGTERM
 * @reserved: must be 0
 *
 * PEER_UNPIN ends it, as does the last close of the file.
 */
struct peer_pin {
	__u64 address;
	__u64 length;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct peer_range - PEER_FILL, PEER_CHECK: what the device writes and reads
 * @offset: in bytes from the start of the pin or dma-buf, a multiple of 8
 * @length: bytes, a multiple of 8
 * @word: FILL writes it everywhere, CHECK compares with it
 * @through: PEER_THROUGH_*
 * @reserved: must be 0
 * @out_bad: of CHECK: number of words that are different
 * @out_first: of CHECK: offset of the first of them
 */
struct peer_range {
	__u64 offset;
	__u64 length;
	__u64 word;
	__u32 through;
	__u32 reserved;
	__u64 out_bad;
	__u64 out_first;
};

/* The pinned pages. */
#define PEER_THROUGH_PIN	0
/* The import, by the device's addresses. */
#define PEER_THROUGH_DMA	1
/* The import, by a kernel mapping made for the call (vmap). */
#define PEER_THROUGH_VMAP	2

/**
 * struct peer_import - PEER_IMPORT: attach to a dma-buf and map it for the device
 * @fd: the dma-buf; may be closed afterwards
 * @flags: PEER_WRITE: the device writes, too (DMA_BIDIRECTIONAL); else it only
 *         reads (DMA_TO_DEVICE)
 * @out_entries: number of ranges that the device sees
 * @out_contiguous: 1 if each begins where the one before it ends
 * @out_length: bytes in all of them
 *
 * PEER_DETACH ends it, as does the last close of the file.
 */
struct peer_import {
	__s32 fd;
	__u32 flags;
	__u32 out_entries;
	__u32 out_contiguous;
	__u64 out_length;
};

/* Ends an access instead of beginning one. */
#define PEER_SYNC_END		(1U << 0)

/**
 * struct peer_sync - PEER_SYNC: bracket an access of the driver to the import
 * @flags: PEER_SYNC_END or 0
 * @reserved: must be 0
 */
struct peer_sync {
	__u32 flags;
	__u32 reserved;
};

#define PEER_IOC_TYPE	0xBE
#define PEER_PIN	_IOW(PEER_IOC_TYPE, 0x80, struct peer_pin)
#define PEER_UNPIN	_IO(PEER_IOC_TYPE, 0x81)
#define PEER_FILL	_IOWR(PEER_IOC_TYPE, 0x82, struct peer_range)
#define PEER_CHECK	_IOWR(PEER_IOC_TYPE, 0x83, struct peer_range)
#define PEER_IMPORT	_IOWR(PEER_IOC_TYPE, 0x84, struct peer_import)
#define PEER_DETACH	_IO(PEER_IOC_TYPE, 0x85)
#define PEER_SYNC	_IOW(PEER_IOC_TYPE, 0x86, struct peer_sync)

#endif /* BUDDY_PEER_H */
