// SPDX-License-Identifier: MIT
/*
 * other_abi.so - to be preloaded: makes a module of version $OTHER_ABI of the interface
 * of the one that is loaded, and one of a device that is none, such as /dev/null.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/buddy.h>

int ioctl(int fd, unsigned long command, ...)
{
	struct buddy_info *info;
	va_list args;
	long ret;

	va_start(args, command);
	info = va_arg(args, void *);
	va_end(args);
	ret = syscall(SYS_ioctl, fd, command, info);
	if (command != BUDDY_IOC_INFO)
		return (int)ret;
	info->out_abi_version = (unsigned int)atoi(getenv("OTHER_ABI"));
	return 0;
}
