/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * peer.h - the interface of /dev/buddy_peer (module buddy_peer, for tests only):
 * a device that pins the memory of processes.
 *
 * What a command sets up belongs to the open file and ends with it.
 *
 * Members named out_ are written by the kernel. Errors of all commands:
 *
 *   EINVAL   a member is wrong: an unknown flag; of a pin no whole pages, none,
 *            or more than PEER_MAX; of a range not a multiple of 8, or not inside
 *   EBUSY    this file has a pin already
 *   ENXIO    this file has none
 *   EFAULT   PIN: not all of it can be pinned like this, and nothing was; all:
 *            the struct cannot be read or written
 *   EACCES   FILL: the pin is not for writing
 *   EINTR    killed
 *   ENOTTY   no such command
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
 * @offset: in bytes from the start of the pin, a multiple of 8
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

#define PEER_IOC_TYPE	0xBE
#define PEER_PIN	_IOW(PEER_IOC_TYPE, 0x80, struct peer_pin)
#define PEER_UNPIN	_IO(PEER_IOC_TYPE, 0x81)
#define PEER_FILL	_IOWR(PEER_IOC_TYPE, 0x82, struct peer_range)
#define PEER_CHECK	_IOWR(PEER_IOC_TYPE, 0x83, struct peer_range)

#endif /* BUDDY_PEER_H */
