// SPDX-License-Identifier: MIT
/*
 * load.c - reads a file into a block by O_DIRECT.
 *
 * Threads take the next chunk each until none is left: one request at a time leaves an
 * NVMe idle for most of the time. A file system without O_DIRECT is read through the
 * page cache, and the last line says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buddyctl.h"
#include "load.h"

#define THREADS	4
#define CHUNK	(8ull << 20)
#define SECTOR	4096ull		/* what any disk can read */

struct reading {
	struct load *load;
	char *to;
	uint64_t room;
	int finished;		/* an eventfd: the last thread is done */
	_Atomic uint64_t next, done;
	_Atomic int err, running;
};

/* The bytes of what is open, or 0 and why not. */
static uint64_t length_of(int fd, const char **why)
{
	struct stat s;
	uint64_t bytes = 0;

	*why = "it is empty";
	if (fstat(fd, &s))
		*why = strerror(errno);
	else if (S_ISREG(s.st_mode))
		bytes = (uint64_t)s.st_size;
	else if (!S_ISBLK(s.st_mode))
		*why = S_ISDIR(s.st_mode) ? "it is a directory" : "it is neither a file nor a disk";
	else if (ioctl(fd, BLKGETSIZE64, &bytes))
		*why = strerror(errno);
	return bytes;
}

int load_open(const char *path, struct load *load)
{
	/* O_NONBLOCK: a FIFO does not wait for who writes; on files and disks it is nothing */
	const int how = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
	const char *why;

	*load = (struct load){ .path = path, .direct = true };
	load->fd = open(path, how | O_DIRECT);
	if (load->fd < 0 && errno == EINVAL) {
		load->direct = false;
		load->fd = open(path, how);
	}
	if (load->fd < 0)
		return ctl_failed(path, errno);
	load->length = length_of(load->fd, &why);
	if (load->length)
		return 0;
	load_close(load);
	fprintf(stderr, "buddyctl: %s: %s\n", path, why);
	return CTL_SAID + 1;
}

void load_close(struct load *load)
{
	close(load->fd);
	load->fd = -1;
}

/* Some file systems open a file with O_DIRECT and then do not read it so. */
static void read_buffered(struct load *load)
{
	atomic_store(&load->direct, false);
	fcntl(load->fd, F_SETFL, fcntl(load->fd, F_GETFL) & ~O_DIRECT);
}

/* Return: 0 or a negative errno. */
static int read_chunk(struct reading *r, uint64_t at)
{
	uint64_t end = at + CHUNK < r->load->length ? at + CHUNK : r->load->length;
	bool buffered = false;

	while (at < end) {
		/* whole sectors, also of the last: the block's last page has room */
		uint64_t want = (end - at + SECTOR - 1) / SECTOR * SECTOR;
		ssize_t n;

		if (at + want > r->room)
			want = r->room - at;
		n = pread(r->load->fd, r->to + at, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && !buffered) {
			read_buffered(r->load);
			buffered = true;
			continue;
		}
		if (n <= 0)
			return n ? -errno : -EIO;
		at += (uint64_t)n;
		atomic_fetch_add(&r->done, (uint64_t)n);
	}
	return 0;
}

static void *read_chunks(void *context)
{
	struct reading *r = context;
	uint64_t at;
	int err = 0;

	while (!err && !atomic_load(&r->err) &&
	       (at = atomic_fetch_add(&r->next, CHUNK)) < r->load->length)
		err = read_chunk(r, at);
	if (err)
		atomic_store(&r->err, err);
	if (atomic_fetch_sub(&r->running, 1) == 1)
		eventfd_write(r->finished, 1);
	return NULL;
}

/* [#####.....]  50 %  1.0 GiB of 2.0 GiB, 1234 MB/s */
static void show(const struct reading *r, double seconds)
{
	enum { BAR = 30 };
	uint64_t done = r->done < r->load->length ? r->done : r->load->length;
	int filled = (int)(done * BAR / r->load->length);

	fprintf(stderr, "\r[%.*s%.*s] %3d %%  %s of %s, %.0f MB/s \033[K", filled,
		"##############################", BAR - filled,
		"..............................", (int)(done * 100 / r->load->length),
		ctl_bytes(done), ctl_bytes(r->load->length),
		seconds > 0 ? (double)done / seconds / 1e6 : 0);
}

/* Starts the threads, or reads at once where there are none. Return: how many. */
static int start(struct reading *r, pthread_t *threads)
{
	int count = 0;

	atomic_store(&r->running, THREADS);
	while (count < THREADS && !pthread_create(&threads[count], NULL, read_chunks, r))
		count++;
	if (!count) {
		atomic_store(&r->running, 1);
		read_chunks(r);
	} else if (count < THREADS && atomic_fetch_sub(&r->running, THREADS - count) == THREADS - count) {
		eventfd_write(r->finished, 1);
	}
	return count;
}

/* Until the last thread has finished, or @stop can be read from. */
static void wait_for(struct reading *r, int stop, bool terminal, double began)
{
	struct pollfd polls[2] = {
		{ .fd = r->finished, .events = POLLIN },
		{ .fd = stop, .events = POLLIN },
	};

	while (atomic_load(&r->running) > 0) {
		if (terminal)
			show(r, ctl_now() - began);
		poll(polls, 2, 100);
		if (polls[1].revents) {
			atomic_store(&r->err, -EINTR);
			break;
		}
	}
}

int load_read(struct load *load, void *to, uint64_t room, int stop)
{
	struct reading r = {
		.load = load, .to = to, .room = room, .finished = eventfd(0, EFD_CLOEXEC),
	};
	bool terminal = isatty(STDERR_FILENO);
	double began = ctl_now();
	pthread_t threads[THREADS];
	int count = start(&r, threads);

	wait_for(&r, stop, terminal, began);
	load->seconds = ctl_now() - began;
	while (count)
		pthread_join(threads[--count], NULL);
	close(r.finished);
	if (terminal)
		fputs("\r\033[K", stderr);
	if (r.err)
		return r.err;
	fprintf(stderr, "buddyctl: %s: %s in %.2f s, %.0f MB/s%s\n", load->path,
		ctl_bytes(load->length), load->seconds,
		(double)load->length / load->seconds / 1e6,
		load->direct ? "" : " (through the page cache: no O_DIRECT there)");
	return 0;
}
