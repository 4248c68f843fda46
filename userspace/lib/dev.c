// SPDX-License-Identifier: MIT
/*
 * dev.c - opening a device of either backend, and asking it things.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buddy_size.h"
#include "private.h"

#define DEFAULT_SIZE	(256ull << 20)

static int parse_backend(const char *text, enum buddy_backend *backend)
{
	static const struct {
		const char *name;
		enum buddy_backend backend;
	} names[] = {
		{ "", BUDDY_BACKEND_AUTO },
		{ "auto", BUDDY_BACKEND_AUTO },
		{ "device", BUDDY_BACKEND_DEVICE },
		{ "process", BUDDY_BACKEND_PROCESS },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(text, names[i].name)) {
			*backend = names[i].backend;
			return 0;
		}
	}
	return -EINVAL;
}

static const char *env(const char *name, const char *otherwise)
{
	/* not where the program has more rights than the one who started it */
	const char *value = secure_getenv(name);

	return value && *value ? value : otherwise;
}

/* What 100 % of BUDDY_SIZE are. */
static uint64_t memory_of_machine(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages < 0 ? 0 : (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int wrong(enum buddy_operation operation, const char *text)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = operation, .error = -EINVAL }, NULL, text);
}

static int open_process(struct buddy_dev **dev, uint64_t size)
{
	const char *text = env("BUDDY_SIZE", NULL);

	if (!size && text &&
	    (buddy_size_parse(text, memory_of_machine(), &size) || !size))
		return wrong(OP_SIZE, text);
	return buddy_process_open(dev, size ? size : DEFAULT_SIZE);
}

int buddy_dev_open(struct buddy_dev **dev, enum buddy_backend backend,
		   const char *path, uint64_t size)
{
	int err;

	*dev = NULL;
	if (backend == BUDDY_BACKEND_DEFAULT) {
		const char *name = env("BUDDY_BACKEND", "");

		if (parse_backend(name, &backend))
			return wrong(OP_BACKEND, name);
	}
	if (!path)
		path = env("BUDDY_DEVICE", "/dev/buddy");
	switch (backend) {
	case BUDDY_BACKEND_PROCESS:
		return open_process(dev, size);
	case BUDDY_BACKEND_DEVICE:
		return buddy_device_open(dev, path);
	case BUDDY_BACKEND_AUTO:
		err = buddy_device_open(dev, path);
		return err == -ENOENT ? open_process(dev, size) : err;
	default:
		return wrong(OP_BACKEND, "");
	}
}

void buddy_dev_close(struct buddy_dev *dev)
{
	if (dev)
		dev->ops->close(dev);
}

/*
 * The descriptor of a library lies away from those that a program expects to get:
 * shells and daemons close or replace low ones that they do not know.
 */
#define HIGH_FD	400

int buddy_dev_set_fd(struct buddy_dev *dev, int fd)
{
	struct stat st;
	int high;

	if (fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (high >= 0) {
		close(fd);
		fd = high;
	}
	fstat(fd, &st);
	dev->fd = fd;
	dev->st_dev = st.st_dev;
	dev->st_ino = st.st_ino;
	return 0;
}

bool buddy_dev_is_open(const struct buddy_dev *dev)
{
	struct stat st;

	return dev->fd >= 0 && !fstat(dev->fd, &st) && st.st_dev == dev->st_dev &&
	       st.st_ino == dev->st_ino;
}

void buddy_dev_leave(struct buddy_dev *dev)
{
	if (buddy_dev_is_open(dev))
		close(dev->fd);
	dev->fd = -1;
}

/* A device may have several pools, whose locks do not keep them from each other. */
static pthread_mutex_t renewing = PTHREAD_MUTEX_INITIALIZER;

int buddy_dev_renew(struct buddy_dev *dev)
{
	int cancel = buddy_cancel_off(), err;

	pthread_mutex_lock(&renewing);
	if (dev->fd < 0)
		err = dev->ops->reopen(dev);
	else
		err = buddy_dev_is_open(dev) ? 0 :
		      buddy_fail_at(OP_POOL_ALLOC, dev, -EBADF);
	pthread_mutex_unlock(&renewing);
	buddy_cancel_restore(cancel);
	return err;
}

const char *buddy_dev_backend(const struct buddy_dev *dev)
{
	return dev->ops->name;
}

int buddy_dev_info(struct buddy_dev *dev, struct buddy_info *info)
{
	int err;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	err = dev->ops->call(dev, BUDDY_IOC_INFO, info);
	return err ? buddy_fail_at(OP_INFO, dev, err) : 0;
}

int buddy_dev_stats(struct buddy_dev *dev, struct buddy_stats *stats)
{
	int err;

	memset(stats, 0, sizeof(*stats));
	stats->size = sizeof(*stats);
	err = dev->ops->call(dev, BUDDY_IOC_STATS, stats);
	return err ? buddy_fail_at(OP_STATS, dev, err) : 0;
}

int buddy_dev_extents(struct buddy_dev *dev, uint64_t *start,
		      struct buddy_extent_entry *entries, uint32_t count)
{
	struct buddy_extents extents = {
		.size = sizeof(extents),
		.start = *start,
		.entries = (uintptr_t)entries,
		.count = count,
	};
	int err;

	/*
	 * A checker knows of an ioctl that it writes its struct, not that it writes the
	 * array: without this valgrind calls what the kernel wrote uninitialised.
	 */
	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct buddy_extent_entry){ 0 };
	err = dev->ops->call(dev, BUDDY_IOC_EXTENTS, &extents);
	if (err)
		return buddy_fail_at(OP_EXTENTS, dev, err);
	*start = extents.out_next;
	return (int)extents.out_count;
}
