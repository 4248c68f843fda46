// SPDX-License-Identifier: MIT
/*
 * error_open_test.c - buddy_error() after a device could not be opened; and the text
 * itself: its thread, its length, its storage. The same cases on both backends.
 *
 * Usage: error_open_test process|device
 *
 * Limits, mounts and filters are those of a child of its own. Without sanitizers, which
 * need more addresses than a limit leaves.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "error.h"

static void no_node(void)
{
	static const char *const names[] = { "/nonexistent", "/dev/budy", "/tmp/buddy", "/dev/buddy7" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		says(open_node(names[i]), -ENOENT, "cannot open ", names[i],
		     "there is no such node",
		     on_device() ? "its nodes are /dev/buddy" : "modprobe buddy_mem");
		expect(!strstr(buddy_error(), "mknod"));
	}
	says(open_node("/"), -EISDIR, "cannot open /: it is a directory, not a device node");
	says(open_node("/dev/null/x"), -ENOTDIR, "cannot open /dev/null/x: Not a directory");
	says(open_node("/dev/null"), -ENOTTY, "it is not a buddy device",
	     "number 1:3 is of the driver mem", "the module's node is /dev/buddy");
	expect(!strstr(buddy_error(), "rm "));
}

/* Left by a program that opened the node to write when there was none. */
static void regular_file(void)
{
	char name[] = "/dev/buddy-XXXXXX", other[] = "/tmp/buddy-XXXXXX";
	struct buddy_dev *d;
	int fd;

	if (geteuid())
		skip("needs root");
	fd = mkstemp(name);
	expect(fd >= 0 && !ftruncate(fd, 8192));
	says(buddy_dev_open(&d, BUDDY_BACKEND_AUTO, name, 0), -ENOTTY,
	     "it is a regular file of 8 KiB, not a device node", "rm /dev/buddy-");
	close(fd);
	unlink(name);
	fd = mkstemp(other);
	says(open_node(other), -ENOTTY, "it is a regular file of 0 bytes",
	     "the module's is /dev/buddy");
	expect(!strstr(buddy_error(), "rm "));
	close(fd);
	unlink(other);
}

static void stale_nodes(void)
{
	static const struct {
		unsigned int major, minor;
		int error;
		const char *text;
	} nodes[] = {
		{ 10, 254, -ENODEV, "no driver has" },
		{ 239, 77, -ENXIO, "no driver has" },
		{ 1, 5, -ENOTTY, "its number 1:5 is of the driver mem" },
	};
	const char *name = "/dev/buddy-stale";

	if (geteuid())
		skip("needs root");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		unlink(name);
		if (mknod(name, S_IFCHR | 0600, makedev(nodes[i].major, nodes[i].minor)))
			skip("no device nodes can be made here");
		says(open_node(name), nodes[i].error, nodes[i].text,
		     on_device() ? "rm /dev/buddy-stale, and take one of /dev/buddy" :
		     "the module is not loaded");
		expect(!strstr(buddy_error(), "mknod"));
	}
	unlink(name);
}

/* A /dev that is not the host's: without the node of a region, then with a wrong one. */
static void own_dev(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev", "tmpfs", 0, NULL)) {
		printf("# no mounts\n");
		return;
	}
	says(open_node("/dev/buddy"), -ENOENT, "although the module is loaded",
	     "mknod /dev/buddy c 10 ");
	expect(!mknod("/dev/buddy", S_IFCHR | 0600, makedev(10, 254)));
	says(open_node("/dev/buddy"), -ENODEV, "the node is stale",
	     "rm /dev/buddy, then mknod /dev/buddy c 10 ");
}

static void own_devices(void)
{
	if (!on_device())
		skip("needs the device");
	in_child(own_dev);
}

/* Drivers that are there, and refuse. */
static void other_drivers(void)
{
	const char *name = "/tmp/buddy-minor";

	if (setsid() >= 0 || errno == EPERM)
		says(open_node("/dev/tty"), -ENXIO, "it is not a buddy device",
		     "its number 5:0 is of the driver /dev/tty");
	unlink(name);
	if (geteuid() || mknod(name, S_IFCHR | 0600, makedev(1, 200)))
		return;
	says(open_node(name), -ENXIO, "its number 1:200 is of the driver mem");
	unlink(name);
}

static void not_buddys(void)
{
	in_child(other_drivers);
}

static void on_nodev(void)
{
	const char *name = "/mnt/buddy-nodev";

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/mnt", "tmpfs", MS_NODEV, NULL)) {
		printf("# no mounts\n");
		return;
	}
	expect(!mknod(name, S_IFCHR | 0666, makedev(1, 3)));
	says(open_node(name), -EACCES, "is mounted nodev", "--device /mnt/buddy-nodev");
}

static void without_rights(void)
{
	const char *name = "/tmp/buddy-rights";

	unlink(name);
	if (mknod(name, S_IFCHR | 0600, makedev(1, 3)))
		return;
	expect(!setuid(NOBODY));
	says(open_node(name), -EACCES, "its owner's alone (mode 0600)", "60-buddy.rules");
}

static const char *expected;

static void without_mode(void)
{
	expect(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
	says(open_node("/tmp/buddy-rights"), -EACCES, expected);
	expect(!strstr(buddy_error(), "usermod"));
}

static void without_group(void)
{
	expect(!chmod("/tmp/buddy-rights", 0660));
	expect(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
	says(open_node("/tmp/buddy-rights"), -EACCES, "has mode 0660", "usermod -aG",
	     "BUDDY_BACKEND=process");
}

static void check_mode(mode_t mode, const char *text)
{
	expect(!chmod("/tmp/buddy-rights", mode));
	expected = text;
	in_child(without_mode);
}

/* Who is in the group need not become so; nor does it help where that may only read. */
static void modes(void)
{
	check_mode(0644, "its owner's alone (mode 0644)");
	expect(!chown("/tmp/buddy-rights", 0, NOBODY));
	check_mode(0640, "its mode 0640 does not let the group read and write; chmod g+rw");
	expect(!chown("/tmp/buddy-rights", NOBODY, 0));
	check_mode(0460, "the node is yours, and its mode 0460 does not let its owner");
}

static void permissions(void)
{
	if (geteuid())
		skip("needs root");
	in_child(on_nodev);
	in_child(without_rights);
	in_child(without_group);
	modes();
	unlink("/tmp/buddy-rights");
}

static bool write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* As in a container that was started without --device. */
static void forbidden(void)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	expect(!mkdir("/tmp/devices/test", 0755));
	expect(write_file("/tmp/devices/test/devices.deny", "c 10:* rwm"));
	expect(write_file("/tmp/devices/test/cgroup.procs", pid));
	says(open_node("/dev/buddy"), -EPERM,
	     "cannot open /dev/buddy: the device cgroup of this container or service forbids the device 10:",
	     "--device /dev/buddy", "DeviceAllow=/dev/buddy rw");
	expect(write_file("/tmp/devices/cgroup.procs", pid));
}

static void device_cgroup(void)
{
	if (!on_device())
		skip("needs the device");
	mkdir("/tmp/devices", 0755);
	if (mount("none", "/tmp/devices", "cgroup", 0, "devices"))
		skip("no device cgroups of version 1");
	in_child(forbidden);
	rmdir("/tmp/devices/test");
	umount("/tmp/devices");
}

static void bad_environment(void)
{
	struct buddy_dev *d;

	setenv("BUDDY_BACKEND", "paper", 1);
	says(buddy_dev_open(&d, BUDDY_BACKEND_DEFAULT, NULL, 0), -EINVAL,
	     "cannot choose a backend: BUDDY_BACKEND=paper is none",
	     "device, process and auto");
	unsetenv("BUDDY_BACKEND");
	setenv("BUDDY_SIZE", "lots", 1);
	says(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, 0), -EINVAL,
	     "BUDDY_SIZE=lots: that is no size", "256M");
	unsetenv("BUDDY_SIZE");
	says(buddy_dev_open(&d, (enum buddy_backend)77, NULL, 0), -EINVAL,
	     "the argument is none of enum buddy_backend");
	says(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, 1ull << 50), -EFBIG,
	     "cannot make a region of 1024 TiB in this process", "2^31 pages");
}

static void few_descriptors(void)
{
	struct rlimit limit = { 3, 3 };
	struct buddy_dev *d;

	setrlimit(RLIMIT_NOFILE, &limit);
	says(open_node("/dev/null"), -EMFILE, "cannot open /dev/null", "RLIMIT_NOFILE", ", 3;");
	says(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, MIB), -EMFILE,
	     "cannot make a region of 1 MiB", "RLIMIT_NOFILE");
	limit.rlim_cur = limit.rlim_max = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &limit);
	says(buddy_dev_open(&d, BUDDY_BACKEND_PROCESS, NULL, MIB), -EFBIG,
	     "RLIMIT_FSIZE (ulimit -f) ends files at 1 MiB");
}

static void opening_limits(void)
{
	in_child(few_descriptors);
}

static void *other_thread(void *unused)
{
	struct buddy_block *b;

	(void)unused;
	expect(!strcmp(buddy_error(), "no call has failed"));
	says(buddy_block_alloc(dev, 0, 0, 0, &b), -EINVAL, "the length is 0");
	return NULL;
}

/* Each thread has its own; a success changes nothing, and errno is not touched. */
static void threads(void)
{
	struct buddy_block *b;
	pthread_t thread;

	says(open_node("/nonexistent"), -ENOENT, "cannot open /nonexistent");
	expect(!pthread_create(&thread, NULL, other_thread, NULL));
	pthread_join(thread, NULL);
	expect_eq(buddy_block_alloc(dev, 1, 0, 0, &b), 0);
	expect_eq(buddy_block_free(b), 0);
	errno = 77;
	says(errno, 77, "cannot open /nonexistent");
	expect_eq(errno, 77);
}

/* Whole, and that of a closed device as well. */
static void long_paths(void)
{
	char path[300], node[PATH_MAX], *text;
	struct buddy_dev *closed;

	memset(path, 'x', sizeof(path) - 1);
	memcpy(path, "/tmp/", 5);
	path[sizeof(path) - 1] = 0;
	says(open_node(path), -ENAMETOOLONG, "cannot open ", path);
	path[200] = 0;
	text = strdup(path);
	expect(!mkdir(text, 0755));
	says(open_node(text), -EISDIR, "cannot open ", path, "it is a directory");
	memset(text, 0, strlen(text));
	check_text(__LINE__, (const char *const[]){ path, NULL });
	free(text);
	if (on_device()) {
		snprintf(node, sizeof(node), "%s/node", path);
		expect(!symlink("/dev/buddy", node));
		expect_eq(buddy_dev_open(&closed, backend, node, 0), 0);
		says(buddy_block_alloc(closed, 0, 0, 0, &(struct buddy_block *){ 0 }), -EINVAL,
		     node);
		buddy_dev_close(closed);
		check_text(__LINE__, (const char *const[]){ node, NULL });
		unlink(node);
	}
	rmdir(path);
}

static int find_tls(struct dl_phdr_info *info, size_t size, void *bytes)
{
	(void)size;
	if (!strstr(info->dlpi_name, "/libbuddymem.so"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)bytes = info->dlpi_phdr[i].p_memsz;
	return 1;
}

/* It is static, of which there is little for a library that is loaded late. */
static void thread_storage(void)
{
	size_t bytes = 0;

	dl_iterate_phdr(find_tls, &bytes);
	expect(bytes > 0 && bytes <= 0x80);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{ "no node", no_node },
		{ "a regular file", regular_file },
		{ "stale nodes", stale_nodes },
		{ "a /dev of its own", own_devices },
		{ "drivers of others", not_buddys },
		{ "permissions", permissions },
		{ "a device cgroup", device_cgroup },
		{ "the environment", bad_environment },
		{ "limits while opening", opening_limits },
		{ "threads", threads },
		{ "long paths", long_paths },
		{ "storage of threads", thread_storage },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
