// SPDX-License-Identifier: MIT
/*
 * error_test.c - buddy_error(): of each failure the operation, its cause, and what would
 * have worked. The same cases on both backends.
 *
 * Usage: error_test process|device
 *
 * Limits and mounts are those of a child of its own. Without sanitizers, which need
 * more addresses than a limit leaves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"

#define NOBODY	65534

/* The last failure is told with all of these; the last is NULL. */
static void check_text(int line, const char *const *parts)
{
	const char *text = buddy_error();

	for (; *parts; parts++)
		if (!strstr(text, *parts) && tap_fail())
			printf("# line %d: no \"%s\" in \"%s\"\n", line, *parts, text);
}

#define says(call, error, ...)							\
	do {									\
		expect_eq(call, error);						\
		check_text(__LINE__, (const char *const[]){ __VA_ARGS__, NULL });	\
	} while (0)

static void in_child(void (*run)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run();
		fflush(stdout);
		_exit(tap_failures != 0);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

static int open_node(const char *path)
{
	struct buddy_dev *d;

	return buddy_dev_open(&d, BUDDY_BACKEND_DEVICE, path, 0);
}

static bool on_device(void)
{
	return backend == BUDDY_BACKEND_DEVICE;
}

/* What stands for the place of the blocks in a text. */
static const char *place(void)
{
	return on_device() ? "/dev/buddy" : "the process backend";
}

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

static struct buddy_block *held;	/* of 16 MiB */

static void few_addresses(void)
{
	struct rlimit limit = { 8 * MIB, 8 * MIB };
	struct buddy_pool *pool;
	void *p;

	setrlimit(RLIMIT_AS, &limit);
	says(buddy_block_map(held, &p), -ENOMEM, "cannot map 16 MiB of ", place(),
	     "RLIMIT_AS (ulimit -v) allows this process 8 MiB of addresses");
	expect(!strstr(buddy_error(), "free"));
	if (on_device())
		says(buddy_pool_create(dev, NULL, &pool), -ENOMEM, "cannot create a pool",
		     "RLIMIT_AS");
}

static void few_mappings(void)
{
	char *a = mmap(NULL, 1ull << 30, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *p;

	expect(a != MAP_FAILED);
	for (size_t i = 0; i < 130000 && !mprotect(a + i * 8192, 4096, PROT_NONE); i++)
		;
	/* the last ones; no two that could become one */
	for (int i = 0; i < 16; i++)
		mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	says(buddy_block_map(held, &p), -ENOMEM, "cannot map 16 MiB of ", place(),
	     "mappings, and vm.max_map_count allows ");
}

static void few_locked(void)
{
	struct rlimit limit = { MIB, MIB };
	struct buddy_pool *pool;
	struct buddy_dev *own;
	void *p;

	expect_eq(buddy_dev_open(&own, backend, NULL, 16 * MIB), 0);
	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (!geteuid())
		expect(!setresuid(NOBODY, NOBODY, NOBODY));
	expect(!mlockall(MCL_FUTURE));
	says(buddy_block_map(held, &p), -EAGAIN, "cannot map 16 MiB of ", place(),
	     "RLIMIT_MEMLOCK (ulimit -l) allows 1 MiB", "munlockall()");
	says(buddy_pool_create(own, NULL, &pool), -EAGAIN, "cannot create a pool on ", place(),
	     "RLIMIT_MEMLOCK (ulimit -l) allows 1 MiB");
}

static void executable(void)
{
	void *p;

	personality(READ_IMPLIES_EXEC);
	says(buddy_block_map(held, &p), -EACCES, "cannot map 16 MiB of /dev/buddy",
	     "READ_IMPLIES_EXEC");
}

/* Calls that a filter refuses, or traps: mmap() with all of @map_flags, personality(). */
static bool filter(uint32_t map_flags, uint32_t action)
{
	/* low words: little endian */
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 4, 0),
#ifdef SYS_mmap2
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap2, 0, 4),
#else
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
#endif
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, map_flags),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, map_flags, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]),
					    (struct sock_filter *)code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* It refuses personality(), too: that is no sign of READ_IMPLIES_EXEC. */
static void filtered(void)
{
	void *p;

	expect(filter(MAP_SHARED, SECCOMP_RET_ERRNO | EACCES));
	says(buddy_block_map(held, &p), -EACCES, "cannot map 16 MiB of ", place(),
	     "a seccomp filter forbids it");
}

static void mapping(void)
{
	expect_eq(buddy_block_alloc(dev, 16 * MIB, 0, 0, &held), 0);
	in_child(few_addresses);
	in_child(few_mappings);
	in_child(few_locked);
	if (on_device())
		in_child(executable);
	in_child(filtered);
	expect_eq(buddy_block_free(held), 0);
}

static void wrong_requests(void)
{
	struct buddy_block *b;

	says(buddy_block_alloc(dev, 0, 0, 0, &b), -EINVAL, "the length is 0");
	says(buddy_block_alloc(dev, 1, 3, 0, &b), -EINVAL, "cannot allocate 1 bytes of ",
	     place(), "the alignment, 3 bytes, is no power of two");
	says(buddy_block_alloc(dev, 1, 2ull << 30, 0, &b), -EINVAL,
	     "the alignment, 2 GiB, is above the largest");
	says(buddy_block_alloc(dev, 1, 0, 1u << 31, &b), -EINVAL, "0x80000000",
	     "BUDDY_ALLOC_POW2 and BUDDY_ALLOC_SCATTER");
	says(buddy_block_alloc(dev, 1, 0, BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER, &b),
	     -EINVAL, "take one of them");
	says(buddy_block_alloc(dev, 1, 4096, BUDDY_ALLOC_SCATTER, &b), -EINVAL,
	     "a scattered block has no alignment");
	says(buddy_block_alloc(dev, 1ull << 45, 0, 0, &b), -EFBIG, "cannot allocate 32 TiB",
	     "larger than the whole region", on_device() ? "size=" : "BUDDY_SIZE");
}

/* Every second 2 MiB: much is free, and no range is longer. */
static void shortage(void)
{
	struct buddy_alloc requests[2];
	struct buddy_block *blocks[64], *b, *pair[2];
	uint32_t n = 0, done;

	while (n < 64 && !buddy_block_alloc(dev, 2 * MIB, 0, 0, &blocks[n]))
		n++;
	expect(n >= 8);
	says(buddy_block_alloc(dev, 2 * MIB, 0, 0, &b), -ENOMEM, "cannot allocate 2 MiB of ",
	     place(), " are free, ", on_device() ? "buddyctl map" : "BUDDY_SIZE");
	expect(on_device() || !strstr(buddy_error(), "buddyctl"));
	for (uint32_t i = 0; i < n; i += 2) {
		expect_eq(buddy_block_free(blocks[i]), 0);
		blocks[i] = NULL;
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), -ENOMEM, "cannot allocate 4 MiB of ",
	     "the largest range has 2 MiB",
	     on_device() ? "BUDDY_ALLOC_SCATTER with alignment 0" : "or free blocks");
	if (!on_device()) {
		expect(!strstr(buddy_error(), "SCATTER"));
		says(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_SCATTER, &b), -ENOMEM,
		     "makes scattered blocks of one range, too");
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_POW2, &b), -ENOMEM,
	     "the largest range has 2 MiB");
	expect(!strstr(buddy_error(), "SCATTER"));
	memset(requests, 0, sizeof(requests));
	requests[0].length = MIB;
	requests[1].length = 4 * MIB;
	says(buddy_batch_alloc(dev, requests, 2, pair, &done), -ENOMEM,
	     "cannot allocate 4 MiB of ", "the largest range has ");
	expect_eq(done, 1);
	says(buddy_block_grow(blocks[1], 20ull << 40), -EFBIG, "cannot grow a block of 2 MiB to 20 TiB");
	expect_eq(buddy_block_free(pair[0]), 0);
	for (uint32_t i = 0; i < n; i++)
		buddy_block_free(blocks[i]);
}

/* A range is free, but none where the alignment would have it. */
static void alignments(void)
{
	struct buddy_block *blocks[64], *b;
	uint32_t n = 0;

	while (n < 64 && !buddy_block_alloc(dev, 4096, 8 * MIB, 0, &blocks[n]))
		n++;
	expect(n > 0);
	says(buddy_block_alloc(dev, 4096, 8 * MIB, 0, &b), -ENOMEM,
	     "none of 4 KiB is free at a multiple of the alignment, 8 MiB",
	     "ask for a smaller alignment");
	expect(!strstr(buddy_error(), "SCATTER"));
	while (n)
		buddy_block_free(blocks[--n]);
}

/* Less than 2 MiB in each unit is free: scattered there is as little. */
static void crumbs(void)
{
	struct buddy_block *blocks[256], *b;
	uint32_t n = 0;

	while (n < 256 && !buddy_block_alloc(dev, MIB, 0, 0, &blocks[n]))
		n++;
	for (uint32_t i = 0; i < n; i += 2) {
		expect_eq(buddy_block_free(blocks[i]), 0);
		blocks[i] = NULL;
	}
	says(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), -ENOMEM, "the largest range has 1 MiB");
	expect(!strstr(buddy_error(), "SCATTER"));
	expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, BUDDY_ALLOC_SCATTER, &b), -ENOMEM);
	for (uint32_t i = 0; i < n; i++)
		buddy_block_free(blocks[i]);
}

static void resizing(void)
{
	struct buddy_block *b, *next;
	void *p;

	expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, 0, &b), 0);
	expect_eq(buddy_block_alloc(dev, 4 * MIB, 0, 0, &next), 0);
	says(buddy_block_trim(b, 0), -EINVAL, "cannot trim a block of 4 MiB to 0 bytes",
	     "free the block instead");
	says(buddy_block_trim(b, 6 * MIB), -EINVAL, "buddy_block_grow() makes it longer");
	says(buddy_block_grow(b, 2 * MIB), -EINVAL, "cannot grow a block of 4 MiB to 2 MiB",
	     "buddy_block_trim() makes it shorter");
	says(buddy_block_grow(b, 6 * MIB), -ENOMEM, "what follows the block is not free");
	expect_eq(buddy_block_map(b, &p), 0);
	says(buddy_block_trim(b, MIB), -EBUSY, "mapped here", "buddy_block_unmap()");
	buddy_block_unmap(b);
	if (on_device()) {
		int fd = buddy_block_share(b, 0);

		expect(fd >= 0);
		says(buddy_block_trim(b, MIB), -EBUSY, "has a block fd");
		close(fd);
	}
	expect_eq(buddy_block_free(b), 0);
	expect_eq(buddy_block_free(next), 0);
}

static void sharing_on_device(struct buddy_block *b)
{
	struct buddy_block *other;
	int fd = buddy_block_share(b, BUDDY_SHARE_READ_ONLY);

	says(buddy_block_share(b, 8), -EINVAL, "flags are 0x8", "BUDDY_SHARE_READ_ONLY");
	expect_eq(buddy_block_from_fd(fd, &other), 0);
	says(buddy_block_trim(other, 1), -EOPNOTSUPP, "came as a descriptor");
	says(buddy_block_share(other, 0), -EOPNOTSUPP, "dup(2)");
	says(buddy_batch_free(&other, 1, &(uint32_t){ 0 }), -EINVAL, "batch",
	     "nothing was freed");
	expect_eq(buddy_block_free(other), 0);
	close(fd);
}

static void sharing(void)
{
	struct buddy_block *b, *other;
	int fd = open("/dev/null", O_RDONLY);

	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &b), 0);
	if (on_device())
		sharing_on_device(b);
	else
		says(buddy_block_share(b, 0), -EOPNOTSUPP,
		     "cannot share a block of the process backend", "take /dev/buddy");
	says(buddy_block_from_fd(fd, &other), -ENOTTY, "cannot take a block from descriptor",
	     "(/dev/null)", "that is no block fd", "buddy_block_share()");
	close(fd);
	says(buddy_block_from_fd(fd, &other), -EBADF, "that is not open");
	fd = open("/dev/null", O_PATH);
	says(buddy_block_from_fd(fd, &other), -EBADF, "it was opened with O_PATH");
	close(fd);
	expect_eq(buddy_block_free(b), 0);
}

static void forked_calls(void)
{
	struct buddy_block *b;
	struct buddy_info info;

	says(buddy_block_alloc(dev, 1, 0, 0, &b), -EPERM, "after fork()",
	     "belongs to the parent; open another one here");
	says(buddy_dev_info(dev, &info), -EPERM, "cannot ask what the process backend is");
}

static void after_fork(void)
{
	if (on_device())
		skip("a device may be used after fork()");
	in_child(forked_calls);
}

/* As daemons do that close what they do not know. */
static void lost_descriptor(void)
{
	struct buddy_block *b;
	int other = open("/dev/null", O_RDWR), pipes[2];
	void *p;

	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &b), on_device() ? 0 : -EPERM);
	if (on_device())
		expect_eq(buddy_block_free(b), 0);
	for (int fd = 400; fd < 410; fd++)
		close(fd);
	says(buddy_block_map(held, &p), -EBADF, "cannot map 4 KiB of ", place(),
	     "the program has closed the descriptor");
	expect(!pipe(pipes));
	for (int fd = 400; fd < 410; fd++)
		dup2(pipes[0], fd);
	says(buddy_block_map(held, &p), -EACCES, "cannot map 4 KiB of ", place(),
	     "its descriptor is another file");
	for (int fd = 400; fd < 410; fd++)
		dup2(other, fd);
	if (on_device())
		says(buddy_block_alloc(dev, 1, 0, 0, &b), -ENOTTY,
		     "cannot allocate 1 bytes of /dev/buddy", "its descriptor is another file");
}

static void closed_below(void)
{
	expect_eq(buddy_block_alloc(dev, 4 * KIB, 0, 0, &held), 0);
	in_child(lost_descriptor);
	expect_eq(buddy_block_free(held), 0);
}

static void bad_configurations(void)
{
	struct buddy_pool_config bad = { .size = sizeof(bad), .flags = 8 };
	struct buddy_pool *pool;

	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "cannot create a pool on ", place(),
	     "flags are 0x8", "BUDDY_POOL_FORK_COPY");
	bad.flags = 0;
	bad.chunk = 3 * MIB;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "a chunk of 3 MiB is none");
	bad.chunk = 0;
	bad.limit = 64 * KIB;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "has 64 KiB", "128 KiB");
	bad.size = 0;
	says(buddy_pool_create(dev, &bad, &pool), -EINVAL, "sizeof(struct buddy_pool_config)");
	bad.size = 1 << 20;
	says(buddy_pool_create(dev, &bad, &pool), -E2BIG, "install the library of the header");
}

static struct buddy_pool *parents;

static void forked_pool(void)
{
	says(buddy_pool_trim(parents), -EPERM, "cannot trim a pool: after fork()",
	     "BUDDY_POOL_FORK_COPY");
	says(buddy_pool_alloc(parents, 100) != NULL, 0, "in a pool: after fork()");
}

static void pools(void)
{
	struct buddy_pool_config small = {
		.size = sizeof(small), .chunk = 128 * KIB, .limit = 4 * MIB,
	};
	struct buddy_pool_stats stats = { 0 };
	char local;

	bad_configurations();
	expect_eq(buddy_pool_create(dev, &small, &parents), 0);
	says(buddy_pool_alloc(parents, 8 * MIB) != NULL, 0, "cannot allocate 8 MiB in a pool",
	     "more than the limit of the pool, 4 MiB", "a larger limit");
	says(buddy_pool_alloc(parents, 1ull << 30) != NULL, 0, "cannot allocate 1 GiB in a pool",
	     "more than the whole region, ", on_device() ? "size=" : "BUDDY_SIZE");
	expect(!strstr(buddy_error(), "limit"));
	says(buddy_pool_alloc(parents, SIZE_MAX) != NULL, 0, "more than the pool can ever have");
	says(buddy_pool_zalloc(parents, SIZE_MAX, 2) != NULL, 0, "more than the pool can ever");
	says(buddy_pool_alloc_aligned(parents, 3, 1) != NULL, 0, "the alignment, 3 bytes, is no");
	says(buddy_pool_free(parents, &local), -EINVAL, "no object of this pool starts there");
	says(buddy_pool_realloc(parents, &local, 8) != NULL, 0, "cannot resize an object");
	says(buddy_pool_stats(parents, &stats), -EINVAL, "sizeof(struct buddy_pool_stats)");
	in_child(forked_pool);
	buddy_pool_destroy(parents);
}

/* 100 bytes until there is nothing more. */
static void fill(struct buddy_pool *pool)
{
	while (buddy_pool_alloc(pool, 100))
		;
}

static void full_pools(void)
{
	struct buddy_pool_config small = {
		.size = sizeof(small), .chunk = 128 * KIB, .limit = 1 * MIB,
	};
	struct buddy_pool *pool;
	struct buddy_block *b;

	expect_eq(buddy_pool_create(dev, &small, &pool), 0);
	fill(pool);
	check_text(__LINE__, (const char *const[]){ "cannot allocate 100 bytes in a pool: ",
		"the pool has 1 MiB of the 1 MiB", "a larger limit", NULL });
	buddy_pool_destroy(pool);
	expect_eq(buddy_pool_create(dev, NULL, &pool), 0);
	fill(pool);
	check_text(__LINE__, (const char *const[]){ "cannot allocate 100 bytes in a pool: ",
		"of the whole region; free objects, or ",
		on_device() ? "size=" : "BUDDY_SIZE", NULL });
	expect(!strstr(buddy_error(), "limit"));
	buddy_pool_destroy(pool);
	/* it is others that have the region */
	expect_eq(buddy_block_alloc(dev, stats().out_largest, 0, 0, &b), 0);
	small.limit = 0;
	expect_eq(buddy_pool_create(dev, &small, &pool), 0);
	says(buddy_pool_alloc(pool, 60 * MIB) != NULL, 0, "cannot allocate 60 MiB in a pool",
	     "takes a block of 60 MiB of ", place(), " are free");
	expect(!strstr(buddy_error(), "SCATTER"));
	buddy_pool_destroy(pool);
	expect_eq(buddy_block_free(b), 0);
}

static struct buddy_dev *own;

/* As where a program is in the library when a signal comes, whose handler forks. */
static void fork_inside(int signal)
{
	pid_t pid = fork();
	int status;

	(void)signal;
	if (!pid) {
		says(buddy_pool_alloc(parents, 100) != NULL, 0,
		     "cannot allocate 100 bytes in a pool: fork() came from a signal handler");
		expect(!strstr(buddy_error(), "BUDDY_POOL_FORK_COPY"));
		says(buddy_pool_trim(parents), -EPERM, "fork() came from a signal handler");
		if (on_device())
			says(buddy_block_alloc(own, 1, 0, 0, &(struct buddy_block *){ 0 }),
			     -EBADF, "after fork() the library has closed the parent's device");
		fflush(stdout);
		_exit(tap_failures != 0);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	fflush(stdout);
	_exit(tap_failures != 0);
}

static void interrupted(void)
{
	const struct buddy_pool_config copied = {
		.size = sizeof(copied), .flags = BUDDY_POOL_FORK_COPY,
	};

	expect_eq(buddy_dev_open(&own, backend, NULL, 16 * MIB), 0);
	expect_eq(buddy_pool_create(own, &copied, &parents), 0);
	signal(SIGSYS, fork_inside);
	expect(filter(MAP_SHARED | MAP_FIXED, SECCOMP_RET_TRAP));
	buddy_pool_alloc(parents, 100);
	expect(false);
}

static void forks_inside(void)
{
	in_child(interrupted);
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
		{ "limits while mapping", mapping },
		{ "wrong requests", wrong_requests },
		{ "shortage", shortage },
		{ "alignments", alignments },
		{ "crumbs", crumbs },
		{ "trim and grow", resizing },
		{ "sharing", sharing },
		{ "after fork", after_fork },
		{ "a descriptor that the program closes", closed_below },
		{ "pools", pools },
		{ "full pools", full_pools },
		{ "fork() inside the library", forks_inside },
		{ "threads", threads },
		{ "long paths", long_paths },
		{ "storage of threads", thread_storage },
	};

	return run_on_backend(argc, argv, cases, TAP_COUNT(cases));
}
