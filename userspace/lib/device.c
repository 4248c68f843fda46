// SPDX-License-Identifier: MIT
/*
 * device.c - the backend of /dev/buddy: each call is the ioctl itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "private.h"

static int device_call(struct buddy_dev *dev, unsigned long command, void *arg)
{
	return ioctl(dev->fd, command, arg) < 0 ? -errno : 0;
}

static void device_close(struct buddy_dev *dev)
{
	close(dev->fd);
	free(dev);
}

static const struct buddy_backend_ops device_ops = {
	.name = "device",
	.call = device_call,
	.close = device_close,
};

int buddy_device_open(struct buddy_dev **result, const char *path)
{
	struct buddy_dev *dev = malloc(sizeof(*dev));
	struct buddy_info info = { .size = sizeof(info) };
	int err;

	if (!dev)
		return -ENOMEM;
	dev->ops = &device_ops;
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0) {
		err = -errno;
		free(dev);
		return err;
	}
	err = device_call(dev, BUDDY_IOC_INFO, &info);
	if (!err && info.out_abi_version != BUDDY_ABI_VERSION)
		err = -EPROTO;
	if (err) {
		device_close(dev);
		return err;
	}
	*result = dev;
	return 0;
}
