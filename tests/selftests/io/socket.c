// SPDX-License-Identifier: MIT
/*
 * socket.c - rows of the I/O matrix: sockets that send from the block's pages,
 * and one that owns packets in them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/if_xdp.h>
#include <netinet/in.h>
#include <poll.h>

#include "../peer_calls.h"
#include "uring.h"

#define CHUNK (8 * PAGE)	/* fits into the receiver's buffer at once */

static size_t chunk_of(const struct buffer *b, uint64_t at)
{
	return b->length - at < CHUNK ? b->length - at : CHUNK;
}

int socket_unix(const struct buffer *b)
{
	unsigned char *copy = plain_memory(b->length);
	int pair[2];

	MUST(copy && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pattern_fill(b->p, b->length, 19);
	for (uint64_t at = 0; at < b->length; at += CHUNK) {
		long long n = (long long)chunk_of(b, at);

		MUST(TRY(send(pair[0], b->p + at, (size_t)n, 0)) == n);
		MUST(recv(pair[1], copy + at, (size_t)n, MSG_WAITALL) == n);
	}
	MUST(pattern_is(copy, b->length, 19));
	memset(b->p, 0, b->length);
	for (uint64_t at = 0; at < b->length; at += CHUNK) {
		long long n = (long long)chunk_of(b, at);

		MUST(send(pair[0], copy + at, (size_t)n, 0) == n);
		MUST(TRY(recv(pair[1], b->p + at, (size_t)n, MSG_WAITALL)) == n);
	}
	MUST(pattern_is(b->p, b->length, 19));
	return 0;
}

/* Two ends of a TCP connection over loopback. */
static int tcp_pair(int *pair)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(listener >= 0 && pair[0] >= 0);
	MUST(!bind(listener, (void *)&at, length) && !listen(listener, 1));
	MUST(!getsockname(listener, (void *)&at, &length));
	MUST(!connect(pair[0], (void *)&at, length));
	pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	MUST(pair[1] >= 0);
	close(listener);
	return 0;
}

/* The kernel says of each MSG_ZEROCOPY when it has let go of the pages. */
static int await_notices(int socket, uint32_t sends)
{
	while (sends) {
		char control[256];
		struct msghdr message = {
			.msg_control = control, .msg_controllen = sizeof(control),
		};
		struct pollfd ready = { .fd = socket };
		const struct sock_extended_err *notice;
		struct cmsghdr *c;

		MUST(poll(&ready, 1, 20000) == 1);
		MUST(!recvmsg(socket, &message, MSG_ERRQUEUE));
		c = CMSG_FIRSTHDR(&message);
		MUST(c && c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR);
		notice = (const void *)CMSG_DATA(c);
		MUST(!notice->ee_errno &&
		     notice->ee_origin == SO_EE_ORIGIN_ZEROCOPY);
		MUST(notice->ee_data - notice->ee_info < sends);
		sends -= notice->ee_data - notice->ee_info + 1;
	}
	return 0;
}

int socket_zerocopy(const struct buffer *b)
{
	unsigned char *copy = plain_memory(b->length);
	int pair[2], one = 1;
	uint32_t sends = 0;

	MUST(copy);
	PART(tcp_pair(pair));
	MUST(!setsockopt(pair[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	pattern_fill(b->p, b->length, 20);
	for (uint64_t at = 0; at < b->length; ) {
		long long n = (long long)chunk_of(b, at);

		n = TRY(send(pair[0], b->p + at, (size_t)n, MSG_ZEROCOPY));
		MUST(recv(pair[1], copy + at, (size_t)n, MSG_WAITALL) == n);
		at += (uint64_t)n;
		sends++;
	}
	MUST(pattern_is(copy, b->length, 20));
	return await_notices(pair[0], sends);
}

/* Sends once; *sent bytes are on their way, and the pages are free again. */
static int send_zc(const struct ring *r, int socket, const void *p, size_t n,
		   size_t *sent)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_SEND_ZC,
		.fd = socket,
		.addr = (uintptr_t)p,
		.len = (uint32_t)n,
	};
	struct io_uring_cqe cqe;

	MUST(!ring_submit(r, &sqe));
	PART(ring_wait(r, &cqe));
	if (cqe.res < 0)
		return cqe.res;
	MUST(cqe.flags & IORING_CQE_F_MORE);
	*sent = (size_t)cqe.res;
	return 0;
}

int uring_send_zc(const struct buffer *b)
{
	unsigned char *copy = plain_memory(b->length);
	struct io_uring_cqe cqe;
	struct ring r;
	int pair[2];

	MUST(copy);
	PART(ring_open(&r));
	PART(tcp_pair(pair));
	pattern_fill(b->p, b->length, 21);
	for (uint64_t at = 0; at < b->length; ) {
		size_t n;

		PART(send_zc(&r, pair[0], b->p + at, chunk_of(b, at), &n));
		MUST(recv(pair[1], copy + at, n, MSG_WAITALL) == (ssize_t)n);
		PART(ring_wait(&r, &cqe));
		MUST(cqe.flags & IORING_CQE_F_NOTIF);
		at += n;
	}
	MUST(pattern_is(copy, b->length, 21));
	return 0;
}

/*
 * There is no network card to move packets. The row is that the kernel takes the
 * memory, for as long as the socket lives: given back meanwhile, the block waits
 * in quarantine.
 */
int socket_xdp(const struct buffer *b)
{
	struct xdp_umem_reg umem = {
		.addr = (uintptr_t)b->p, .len = b->length, .chunk_size = PAGE,
	};
	int xdp = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	MUST(xdp >= 0);
	TRY(setsockopt(xdp, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)));
	MUST(!munmap(b->p, b->length));
	MUST(b->plain || !free_block(b->fd, b->handle));
	MUST(settled_stats(b->fd, b->length).out_quarantined == b->length);
	return 0;
}
