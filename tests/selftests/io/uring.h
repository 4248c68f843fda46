/* SPDX-License-Identifier: MIT */
/*
 * uring.h - as much of io_uring as the rows need: one request at a time, by the
 * system calls alone.
 */
#ifndef URING_H
#define URING_H

#include <linux/io_uring.h>
#include <sys/syscall.h>

#include "io.h"

struct ring {
	int fd;
	struct io_uring_params params;
	unsigned char *rings;	/* both, by IORING_FEAT_SINGLE_MMAP */
	struct io_uring_sqe *sqes;
};

static inline uint32_t *ring_word(const struct ring *r, uint32_t offset)
{
	return (uint32_t *)(void *)(r->rings + offset);
}

static inline int ring_open(struct ring *r)
{
	const int rw = PROT_READ | PROT_WRITE;
	struct io_uring_params *p = &r->params;
	size_t length;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, p);
	MUST(r->fd >= 0 && p->features & IORING_FEAT_SINGLE_MMAP);
	length = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	if (length < p->sq_off.array + p->sq_entries * sizeof(uint32_t))
		length = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	r->rings = mmap(NULL, length, rw, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	MUST(r->rings != MAP_FAILED);
	r->sqes = mmap(NULL, p->sq_entries * sizeof(*r->sqes), rw, MAP_SHARED,
		       r->fd, IORING_OFF_SQES);
	MUST(r->sqes != MAP_FAILED);
	return 0;
}

/* 0, or a negative errno. */
static inline int ring_submit(const struct ring *r, const struct io_uring_sqe *sqe)
{
	uint32_t *tail = ring_word(r, r->params.sq_off.tail);
	uint32_t slot = *tail & (r->params.sq_entries - 1);

	r->sqes[slot] = *sqe;
	ring_word(r, r->params.sq_off.array)[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1 ? 0 :
									   -errno;
}

/* Waits for the next completion. */
static inline int ring_wait(const struct ring *r, struct io_uring_cqe *cqe)
{
	uint32_t *head = ring_word(r, r->params.cq_off.head);
	uint32_t *tail = ring_word(r, r->params.cq_off.tail);
	const struct io_uring_cqe *cqes = (void *)(r->rings + r->params.cq_off.cqes);

	while (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE))
		MUST(syscall(SYS_io_uring_enter, r->fd, 0, 1,
			     IORING_ENTER_GETEVENTS, NULL, 0) >= 0);
	*cqe = cqes[*head & (r->params.cq_entries - 1)];
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return 0;
}

/* One read or write, whole; the outcome of a row. */
static inline int ring_move(const struct ring *r, uint8_t opcode, int file,
			    const struct buffer *b)
{
	struct io_uring_sqe sqe = {
		.opcode = opcode,
		.fd = file,
		.addr = (uintptr_t)b->p,
		.len = (uint32_t)b->length,
	};
	struct io_uring_cqe cqe;

	MUST(!ring_submit(r, &sqe));
	PART(ring_wait(r, &cqe));
	if (cqe.res < 0)
		return cqe.res;
	MUST((uint64_t)cqe.res == b->length);
	return 0;
}

#endif /* URING_H */
