// SPDX-License-Identifier: MIT
/*
 * pass.c - one descriptor (SCM_RIGHTS) for each connection, with a "b" and, after it, the
 * bytes of contents as 8 bytes of this machine. One who wants the descriptor alone reads
 * one byte; one who sends no more than that said nothing about the contents.
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
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

int pass_listen(const char *path, struct pass_place *place)
{
	struct sockaddr_un address;
	int fd, err = address_of(path, &address);
	struct stat s;
	mode_t mask;

	*place = (struct pass_place){ .path = path, .fd = -1 };
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || lstat(path, &s) ||
	    listen(fd, 64))
		err = -errno;
	umask(mask);
	if (err) {
		close(fd);
		return err;
	}
	place->fd = fd;
	place->dev = s.st_dev;
	place->ino = s.st_ino;
	return 0;
}

void pass_leave(struct pass_place *place)
{
	struct stat s;

	if (place->fd < 0)
		return;
	if (!lstat(place->path, &s) && s.st_dev == place->dev && s.st_ino == place->ino)
		unlink(place->path);
	close(place->fd);
	place->fd = -1;
}

int pass_give(const struct pass_place *place, const struct pass_block *block, pid_t *pid)
{
	union control control = { 0 };
	char bytes[1 + sizeof(block->contents)] = "b";
	struct iovec io = { bytes, sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control.bytes),
	};
	struct ucred who = { 0 };
	socklen_t length = sizeof(who);
	int err = 0, peer = accept4(place->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (peer < 0)
		return -errno;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &block->fd, sizeof(int));
	memcpy(bytes + 1, &block->contents, sizeof(block->contents));
	if (sendmsg(peer, &message, MSG_NOSIGNAL) < 0)
		err = -errno;
	getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &length);
	*pid = who.pid;
	close(peer);
	return err;
}

int pass_get(const char *path, struct pass_block *block)
{
	union control control = { 0 };
	char bytes[1 + sizeof(block->contents)];
	struct iovec io = { bytes, sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control.bytes),
	};
	struct sockaddr_un address;
	struct cmsghdr *c;
	int err = address_of(path, &address), peer;
	ssize_t n = 0;

	*block = (struct pass_block){ .fd = -1 };
	if (err)
		return err;
	peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer < 0)
		return -errno;
	if (connect(peer, (struct sockaddr *)&address, sizeof(address)) ||
	    (n = recvmsg(peer, &message, MSG_CMSG_CLOEXEC)) < 0)
		err = -errno;
	close(peer);
	if (err)
		return err;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&block->fd, CMSG_DATA(c), sizeof(int));
	if (n == sizeof(bytes))
		memcpy(&block->contents, bytes + 1, sizeof(block->contents));
	return block->fd >= 0 ? 0 : -EPROTO;
}
