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
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buddyctl.h"
#include "load.h"

#define THREADS	4
#define CHUNK	(8ull << 20)
#define SECTOR	4096ull		/* what any disk can read */

struct reading {
	const struct load *load;
	char *to;
	uint64_t room;
	_Atomic uint64_t next, done;
	_Atomic int err, running;
};

int load_open(const char *path, struct load *load)
{
	struct stat s;
	uint64_t bytes = 0;
	int err = 0;

	*load = (struct load){ .path = path, .direct = true };
	load->fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (load->fd < 0 && errno == EINVAL) {
		load->direct = false;
		load->fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (load->fd < 0)
		return -errno;
	if (fstat(load->fd, &s))
		err = -errno;
	else if (S_ISREG(s.st_mode))
		bytes = (uint64_t)s.st_size;
	else if (!S_ISBLK(s.st_mode) || ioctl(load->fd, BLKGETSIZE64, &bytes))
		err = -EINVAL;
	load->length = bytes;
	if (!err && !bytes)
		err = -EINVAL;
	if (err)
		load_close(load);
	return err;
}

void load_close(struct load *load)
{
	close(load->fd);
	load->fd = -1;
}

/* Return: 0 or a negative errno. */
static int read_chunk(struct reading *r, uint64_t at)
{
	uint64_t end = at + CHUNK < r->load->length ? at + CHUNK : r->load->length;

	while (at < end) {
		/* whole sectors, also of the last: the block's last page has room */
		uint64_t want = (end - at + SECTOR - 1) / SECTOR * SECTOR;
		ssize_t n;

		if (at + want > r->room)
			want = r->room - at;
		n = pread(r->load->fd, r->to + at, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
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
	atomic_fetch_sub(&r->running, 1);
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

int load_read(const struct load *load, void *to, uint64_t room)
{
	struct reading r = { .load = load, .to = to, .room = room };
	bool terminal = isatty(STDERR_FILENO);
	double began = ctl_now(), seconds;
	pthread_t threads[THREADS];
	int count = 0;

	atomic_store(&r.running, THREADS);
	while (count < THREADS && !pthread_create(&threads[count], NULL, read_chunks, &r))
		count++;
	atomic_fetch_sub(&r.running, THREADS - count);
	if (!count) {
		atomic_store(&r.running, 1);
		read_chunks(&r);
	}
	while (terminal && atomic_load(&r.running) > 0) {
		show(&r, ctl_now() - began);
		usleep(100000);
	}
	while (count)
		pthread_join(threads[--count], NULL);
	if (terminal)
		fputs("\r\033[K", stderr);
	if (r.err)
		return r.err;
	seconds = ctl_now() - began;
	fprintf(stderr, "buddyctl: %s: %s in %.2f s, %.0f MB/s%s\n", load->path,
		ctl_bytes(load->length), seconds, (double)load->length / seconds / 1e6,
		load->direct ? "" : " (through the page cache: no O_DIRECT there)");
	return 0;
}
