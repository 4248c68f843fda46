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

struct device_dev {
	struct buddy_dev dev;
	char path[];	/* dev.path */
};

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

int buddy_device_open(struct buddy_dev **result, const char *path)
{
	struct device_dev *device = malloc(sizeof(*device) + strlen(path) + 1);
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_dev *dev = &device->dev;
	int err;

	if (!device)
		return buddy_fail(&(struct buddy_failure){
			.operation = OP_OPEN, .error = -ENOMEM, .own = true }, NULL, path);
	strcpy(device->path, path);
	dev->path = device->path;
	dev->ops = &device_ops;
	dev->fd = -1;
	err = device_reopen(dev);
	if (err) {
		free(device);
		return err;
	}
	err = device_call(dev, BUDDY_IOC_INFO, &info);
	if (!err && info.out_abi_version != BUDDY_ABI_VERSION)
		err = -EPROTO;
	if (err) {
		err = buddy_fail(&(struct buddy_failure){
			.operation = OP_IDENTIFY, .error = err,
			.have = info.out_abi_version }, dev, NULL);
		device_close(dev);
		return err;
	}
	*result = dev;
	return 0;
}
