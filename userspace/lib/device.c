// SPDX-License-Identifier: MIT
/*
 * device.c - the backend of /dev/buddy: each call is the ioctl itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "private.h"

/*
 * The paths of devices that were opened, each once and for good: the record of a failure
 * has a pointer to one, also when its device is closed. Without a lock, which fork()
 * could find taken: that two threads add the same one does not matter.
 */
struct path {
	struct path *next;
	char text[];
};

static struct path *paths;

/* Return: NULL where there is no memory. */
static const char *keep_path(const char *text)
{
	struct path *first = __atomic_load_n(&paths, __ATOMIC_ACQUIRE), *path;

	for (path = first; path; path = path->next)
		if (!strcmp(path->text, text))
			return path->text;
	path = malloc(sizeof(*path) + strlen(text) + 1);
	if (!path)
		return NULL;
	strcpy(path->text, text);
	path->next = first;
	while (!__atomic_compare_exchange_n(&paths, &path->next, path, false,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return path->text;
}

static int device_call(struct buddy_dev *dev, unsigned long command, void *arg)
{
	return ioctl(dev->fd, command, arg) < 0 ? -errno : 0;
}

static void device_close(struct buddy_dev *dev)
{
	buddy_dev_leave(dev);
	free(dev);
}

static int device_reopen(struct buddy_dev *dev)
{
	int fd = open(dev->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return buddy_fail_at(OP_OPEN, dev, -errno);
	return buddy_dev_set_fd(dev, fd);
}

static const struct buddy_backend_ops device_ops = {
	.name = "device",
	.call = device_call,
	.close = device_close,
	.reopen = device_reopen,
};

static int no_memory(const char *path)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_OPEN, .error = -ENOMEM, .own = true }, NULL, path);
}

static int refused(enum buddy_operation operation, int error, const char *path,
		   uint32_t abi)
{
	return buddy_fail(&(struct buddy_failure){
		.operation = operation, .error = error, .have = abi }, NULL, path);
}

/* Opens the node, and asks whether it is a device of this interface. */
static int open_node(struct buddy_dev *dev, const char *path)
{
	struct buddy_info info = { .size = sizeof(info) };
	int err, fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return refused(OP_OPEN, -errno, path, 0);
	buddy_dev_set_fd(dev, fd);
	err = device_call(dev, BUDDY_IOC_INFO, &info);
	if (!err && info.out_abi_version != BUDDY_ABI_VERSION)
		err = -EPROTO;
	return err ? refused(OP_IDENTIFY, err, path, info.out_abi_version) : 0;
}

int buddy_device_open(struct buddy_dev **result, const char *path)
{
	struct buddy_dev *dev = calloc(1, sizeof(*dev));
	int err;

	if (!dev)
		return no_memory(path);
	dev->ops = &device_ops;
	dev->fd = -1;
	err = open_node(dev, path);
	if (!err) {
		dev->path = keep_path(path);
		err = dev->path ? 0 : no_memory(path);
	}
	if (err)
		device_close(dev);
	else
		*result = dev;
	return err;
}
