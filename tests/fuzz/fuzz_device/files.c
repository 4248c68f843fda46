// SPDX-License-Identifier: MIT
/*
 * files.c - calls on descriptors: the node's, block fds, dma-bufs, pipes; and the
 * children that have them, too. Nothing here waits.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/dma-buf.h>

#include "fuzz.h"

#define CHILDREN	3	/* alive at a time, of one program */
#define ENOUGH		65536	/* bytes of one read, write, splice */

static int sockets[2];		/* what is sent waits between them */
static pid_t children[CHILDREN];
static atomic_uint nr_children;

int own_fd(int fd)
{
	int own;

	if (fd < 0)
		return fd;
	own = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN_FD);
	close(fd);
	return own;
}

void files_start(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		_exit(72);
	for (int i = 0; i < 2; i++)
		sockets[i] = own_fd(pair[i]);
}

static long receive(void)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *head;
	int fd = -1;

	if (recvmsg(sockets[1], &message, MSG_DONTWAIT) != 1)
		return -errno;
	head = CMSG_FIRSTHDR(&message);
	if (head)
		memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	return fd;
}

/* All that a program has left. */
void files_end(void)
{
	while (receive() != -EAGAIN)
		;
	close_range(3, FIRST_OWN_FD - 1, 0);
}

long run_open(struct runner *r, const uint64_t *v, const struct call *c)
{
	int fd = open("/dev/buddy", (int)v[1] & ~(O_CREAT | O_TMPFILE));

	(void)r;
	(void)c;
	if (fd >= 0)
		slots.fds[v[0]] = fd;
	return result(fd);
}

long run_reopen(struct runner *r, const uint64_t *v, const struct call *c)
{
	char path[64];
	int fd;

	(void)r;
	(void)c;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", (int)v[0]);
	fd = open(path, ((int)v[2] & ~(O_CREAT | O_TMPFILE)) | O_NONBLOCK);
	if (fd >= 0)
		slots.fds[v[1]] = fd;
	return result(fd);
}

long run_dup(struct runner *r, const uint64_t *v, const struct call *c)
{
	int fd = dup((int)v[0]);

	(void)r;
	(void)c;
	if (fd >= 0)
		slots.fds[v[1]] = fd;
	return result(fd);
}

long run_close(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(close((int)v[0]));
}

long run_sync(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct dma_buf_sync sync = { .flags = v[1] };

	(void)r;
	(void)c;
	return result(ioctl((int)v[0], DMA_BUF_IOCTL_SYNC, &sync));
}

long run_fence(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct dma_buf_export_sync_file x = { .flags = (uint32_t)v[2], .fd = -1 };
	long ret = result(ioctl((int)v[0], DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &x));

	(void)r;
	(void)c;
	if (!ret)
		slots.fds[v[1]] = x.fd;
	return ret;
}

long run_import(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct dma_buf_import_sync_file x = { .flags = (uint32_t)v[2], .fd = (int)v[1] };

	(void)r;
	(void)c;
	return result(ioctl((int)v[0], DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &x));
}

/* 0 ends at once; 1 runs the rest of the program, too; 2 waits to be killed; 3
 * touches all that there is. */
static void child(struct runner *r, unsigned int does)
{
	r->child = true;
	r->kcov = NULL;
	run_on(1);
	areas_create(r);
	if (does == 1)
		run_rest(r);
	if (does == 2)
		pause();
	for (unsigned int i = 0; does == 3 && i < SLOTS; i++)
		touch_pages((char *)slots.maps[i].address, PAGE,
			    (unsigned int)(slots.maps[i].length / PAGE % 64), true);
	_exit(0);
}

/* Those that live for some time see what their parent does meanwhile. */
long run_child(struct runner *r, const uint64_t *v, const struct call *c)
{
	unsigned int at;
	pid_t pid;

	(void)c;
	if (r->child)
		return SKIPPED;
	at = atomic_fetch_add(&nr_children, 1);
	if (at >= CHILDREN)
		return SKIPPED;
	pid = fork();
	if (!pid)
		child(r, (unsigned int)v[0]);
	children[at] = pid > 0 ? pid : 0;
	for (uint64_t i = 0; pid > 0 && i < v[1] % 32; i++)
		sched_yield();
	return result(pid);
}

void reap_children(void)
{
	for (unsigned int i = 0; i < CHILDREN; i++) {
		if (!children[i])
			continue;
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
		children[i] = 0;
	}
	atomic_store(&nr_children, 0);
}

long run_send(struct runner *r, const uint64_t *v, const struct call *c)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	int fd = (int)v[0];

	(void)r;
	(void)c;
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	return result(sendmsg(sockets[0], &message, MSG_DONTWAIT));
}

long run_receive(struct runner *r, const uint64_t *v, const struct call *c)
{
	long fd = receive();

	(void)r;
	(void)c;
	if (fd >= 0)
		slots.fds[v[0]] = (int)fd;
	return fd;
}

static size_t enough(uint64_t length)
{
	return length > ENOUGH ? ENOUGH : length;
}

long run_read(struct runner *r, const uint64_t *v, const struct call *c)
{
	size_t n = enough(v[2]);

	(void)c;
	return result(read((int)v[0], pointer(r, v[1], n), n));
}

long run_write(struct runner *r, const uint64_t *v, const struct call *c)
{
	size_t n = enough(v[2]);

	(void)c;
	return result(write((int)v[0], pointer(r, v[1], n), n));
}

long run_pread(struct runner *r, const uint64_t *v, const struct call *c)
{
	size_t n = enough(v[2]);

	(void)c;
	return result(pread((int)v[0], pointer(r, v[1], n), n, (off_t)v[3]));
}

long run_pwrite(struct runner *r, const uint64_t *v, const struct call *c)
{
	size_t n = enough(v[2]);

	(void)c;
	return result(pwrite((int)v[0], pointer(r, v[1], n), n, (off_t)v[3]));
}

long run_lseek(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(lseek((int)v[0], (off_t)v[1], (int)v[2]));
}

long run_truncate(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(ftruncate((int)v[0], (off_t)v[1]));
}

long run_fallocate(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(fallocate((int)v[0], (int)v[1], (off_t)v[2], (off_t)v[3]));
}

long run_poll(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct pollfd p = { .fd = (int)v[0], .events = (short)v[1] };

	(void)r;
	(void)c;
	return result(poll(&p, 1, 0));
}

long run_fsync(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(v[1] ? fdatasync((int)v[0]) : fsync((int)v[0]));
}

/* O_NONBLOCK stays. */
long run_fcntl(struct runner *r, const uint64_t *v, const struct call *c)
{
	long value = (long)v[2];

	(void)r;
	(void)c;
	if (v[1] == F_SETLKW || v[1] == F_OFD_SETLKW || v[1] == F_SETPIPE_SZ)
		return SKIPPED;
	if (v[1] == F_SETFL)
		value |= O_NONBLOCK;
	if (v[1] == F_DUPFD || v[1] == F_DUPFD_CLOEXEC)
		value %= FIRST_OWN_FD;
	return result(fcntl((int)v[0], (int)v[1], value));
}

/* One descriptor for both ends, so that any call finds the end it needs. */
long run_pipe(struct runner *r, const uint64_t *v, const struct call *c)
{
	char path[64];
	int ends[2], fd;

	(void)r;
	(void)c;
	if (pipe2(ends, O_NONBLOCK))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	fd = open(path, O_RDWR | O_NONBLOCK);
	close(ends[0]);
	close(ends[1]);
	if (fd >= 0)
		slots.fds[v[0]] = fd;
	return result(fd);
}

long run_splice(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(splice((int)v[0], NULL, (int)v[1], NULL, enough(v[2]),
			     SPLICE_F_NONBLOCK));
}

long run_tee(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(tee((int)v[0], (int)v[1], enough(v[2]), SPLICE_F_NONBLOCK));
}

long run_sendfile(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)r;
	(void)c;
	return result(sendfile((int)v[1], (int)v[0], NULL, enough(v[2])));
}

/* How many descriptors there may be, until the program ends. */
long run_limit(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct rlimit limit = { v[0] % 512, 4096 };

	(void)r;
	(void)c;
	return result(setrlimit(RLIMIT_NOFILE, &limit));
}
