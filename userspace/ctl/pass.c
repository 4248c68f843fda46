// SPDX-License-Identifier: MIT
/*
 * pass.c - one byte and one descriptor (SCM_RIGHTS) for each connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pass.h"

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr header;
};

static int address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

int pass_listen(const char *path)
{
	struct sockaddr_un address;
	int fd, err = address_of(path, &address);
	mode_t mask;

	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64)) {
		err = -errno;
		close(fd);
	}
	umask(mask);
	return err ? err : fd;
}

int pass_give(int listener, int fd, pid_t *pid)
{
	union control control = { 0 };
	struct iovec io = { "b", 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control.bytes),
	};
	struct ucred who = { 0 };
	socklen_t length = sizeof(who);
	int err = 0, peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (peer < 0)
		return -errno;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	if (sendmsg(peer, &message, MSG_NOSIGNAL) < 0)
		err = -errno;
	getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &length);
	*pid = who.pid;
	close(peer);
	return err;
}

int pass_get(const char *path)
{
	union control control = { 0 };
	char byte;
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control.bytes),
	};
	struct sockaddr_un address;
	struct cmsghdr *c;
	int err = address_of(path, &address), peer, fd = -1;

	if (err)
		return err;
	peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer < 0)
		return -errno;
	if (connect(peer, (struct sockaddr *)&address, sizeof(address)) ||
	    recvmsg(peer, &message, MSG_CMSG_CLOEXEC) < 0)
		err = -errno;
	close(peer);
	if (err)
		return err;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd >= 0 ? fd : -EPROTO;
}
