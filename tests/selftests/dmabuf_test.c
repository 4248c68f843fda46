// SPDX-License-Identifier: MIT
/*
 * dmabuf_test.c - a block as a dma-buf: what the descriptor can do, what a device
 * that imports it sees, and how long each of them keeps the block. Needs root, the
 * module and buddy_peer.ko; BUDDY_TEST_DISK may name a disk to write to.
 */
#define _GNU_SOURCE
#include <linux/dma-buf.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "peer_calls.h"

#define W1	0x1111111111111111ull
#define W2	0x2222222222222222ull
#define W3	0x3333333333333333ull

#define DMA	PEER_THROUGH_DMA
#define VMAP	PEER_THROUGH_VMAP
#define RW	(PROT_READ | PROT_WRITE)

static int fd;
static uint64_t region;

/* A descriptor or a negative errno. */
static int make_dmabuf(int file, uint32_t handle, uint32_t flags)
{
	struct buddy_share s = {
		.size = sizeof(s),
		.flags = flags,
		.handle = handle,
		.out_fd = -1,
	};

	return call(file, BUDDY_IOC_DMABUF, &s) ?: s.out_fd;
}

static int import(int peer, int dmabuf, uint32_t flags)
{
	struct peer_import i = { .fd = dmabuf, .flags = flags };

	return call(peer, PEER_IMPORT, &i);
}

static int detach(int peer)
{
	return call(peer, PEER_DETACH, NULL);
}

static void *map_fd(int file, size_t length, int prot, off_t offset)
{
	void *p = mmap(NULL, length, prot, MAP_SHARED, file, offset);

	expect(p != MAP_FAILED);
	return p;
}

static int map_errno(int file, size_t length, int prot, int flags, off_t offset)
{
	void *p = mmap(NULL, length, prot, flags, file, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

static int sync_cpu(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return call(dmabuf, DMA_BUF_IOCTL_SYNC, &sync);
}

static void wrong_calls(void)
{
	struct buddy_alloc a;
	int other = device_open(), ro = open("/dev/buddy", O_RDONLY);
	int block;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	expect_eq(make_dmabuf(fd, a.out_handle, 2), -EINVAL);
	expect_eq(make_dmabuf(fd, a.out_handle, 1u << 31), -EINVAL);
	expect_eq(make_dmabuf(fd, 0, 0), -ENOENT);
	expect_eq(make_dmabuf(fd, a.out_handle + 1, 0), -ENOENT);
	expect_eq(make_dmabuf(fd, -1u, 0), -ENOENT);
	expect_eq(make_dmabuf(other, a.out_handle, 0), -ENOENT);
	expect_eq(make_dmabuf(ro, a.out_handle, 0), -EBADF);
	block = make_dmabuf(fd, a.out_handle, 0);
	expect(block >= 0);
	expect_eq(make_dmabuf(block, a.out_handle, 0), -ENOTTY);
	close(block);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(make_dmabuf(fd, a.out_handle, 0), -ENOENT);
	expect(wait_free(fd, region, 5));
	close(other);
	close(ro);
}

static void no_descriptor_left(void)
{
	struct buddy_alloc a;
	int status;
	pid_t pid;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	pid = fork();
	if (!pid) {
		struct rlimit few;

		getrlimit(RLIMIT_NOFILE, &few);
		few.rlim_cur = 0;
		setrlimit(RLIMIT_NOFILE, &few);
		_exit(make_dmabuf(fd, a.out_handle, 0) == -EMFILE ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_eq(get_stats(fd).out_used, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	/* the failed call left no reference */
	expect(wait_free(fd, region, 5));
}

/* The reply cannot be written: no descriptor, no reference. */
static void reply_fault(void)
{
	struct buddy_share *s = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS,
				     -1, 0);
	struct buddy_alloc a;
	int before = dup(fd), after;

	close(before);
	expect_eq(alloc_block(fd, PAGE, &a), 0);
	*s = (struct buddy_share){ .size = sizeof(*s), .handle = a.out_handle };
	mprotect(s, PAGE, PROT_READ);
	expect_eq(call(fd, BUDDY_IOC_DMABUF, s), -EFAULT);
	after = dup(fd);
	expect_eq(after, before);
	close(after);
	munmap(s, PAGE);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

static void descriptor(void)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	struct buddy_stats stats = { .size = sizeof(stats) };
	char name[64], byte = 0;
	struct buddy_alloc a;
	int dmabuf;

	expect_eq(alloc_block(fd, 3 * PAGE - 5, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect(dmabuf >= 0);
	expect(fcntl(dmabuf, F_GETFD) & FD_CLOEXEC);
	expect_eq(lseek(dmabuf, 0, SEEK_END), 3 * PAGE);
	expect_eq(lseek(dmabuf, 0, SEEK_SET), 0);
	expect_eq(call(dmabuf, BUDDY_IOC_BLOCK, &info), -ENOTTY);
	expect_eq(call(dmabuf, BUDDY_IOC_STATS, &stats), -ENOTTY);
	expect_eq(free_block(dmabuf, a.out_handle), -ENOTTY);
	expect(read(dmabuf, &byte, 1) < 0);
	expect(write(dmabuf, &byte, 1) < 0);
	/* not a way to another descriptor of the same thing */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", dmabuf);
	expect(open(name, O_RDWR) < 0);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, 5));
}

static void mappings_of(uint64_t length)
{
	struct buddy_alloc a;
	char *p, *q, *last;
	int dmabuf;

	expect_eq(alloc_block(fd, length, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(lseek(dmabuf, 0, SEEK_END), length);
	expect_eq(map_errno(dmabuf, length + PAGE, RW, MAP_SHARED, 0), -EINVAL);
	expect_eq(map_errno(dmabuf, length, RW, MAP_SHARED, PAGE), -EINVAL);
	expect_eq(map_errno(dmabuf, PAGE, RW, MAP_SHARED, (off_t)length), -EINVAL);
	expect(map_errno(dmabuf, PAGE, RW, MAP_SHARED, 1l << 50) < 0);
	expect_eq(map_errno(dmabuf, PAGE, RW, MAP_PRIVATE, 0), -EINVAL);
	expect(map_errno(dmabuf, PAGE, RW | PROT_EXEC, MAP_SHARED, 0) < 0);

	p = map_fd(dmabuf, length, RW, 0);
	expect_eq(words_check(p, length, 0), 0);
	words_fill(p, length, W1);
	q = map_block(fd, &a);
	expect_eq(words_check(q, length, W1), 0);
	last = map_fd(dmabuf, PAGE, RW, (off_t)(length - PAGE));
	words_fill(last, PAGE, W2);
	expect_eq(words_check(q, length - PAGE, W1), 0);
	expect_eq(words_check(q + length - PAGE, PAGE, W2), 0);
	expect_eq(words_check(p + length - PAGE, PAGE, W2), 0);
	words_fill(q, length, W3);
	expect_eq(words_check(p, length, W3), 0);
	munmap(q, length);
	munmap(last, PAGE);
	/* in part, with a hole */
	munmap(p + PAGE, PAGE);
	expect_eq(words_check(p, PAGE, W3), 0);
	expect_eq(words_check(p + 2 * PAGE, length - 2 * PAGE, W3), 0);
	munmap(p, length);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

static void mappings(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		mappings_of(lengths[i]);
}

/* dma-bufs do not ask for aligned addresses: every one has to do. */
static void at_any_address(void)
{
	static const uint64_t askew[] = { 0, PAGE, MIB };
	struct buddy_info info = { .size = sizeof(info) };
	struct buddy_alloc a;
	char *room, *p;
	int dmabuf;

	expect_eq(call(fd, BUDDY_IOC_INFO, &info), 0);
	for (int i = 0; i < 3; i++) {
		bool huge = info.out_features & BUDDY_FEATURE_HUGE && !askew[i];

		expect_eq(alloc_block(fd, 4 * MIB + PAGE, &a), 0);
		dmabuf = make_dmabuf(fd, a.out_handle, 0);
		room = mmap(NULL, 10 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		p = (char *)(((uintptr_t)room + 2 * MIB - 1) & ~(2 * MIB - 1));
		p = mmap(p + askew[i], a.out_length, RW, MAP_SHARED | MAP_FIXED,
			 dmabuf, 0);
		expect(p != MAP_FAILED);
		words_fill(p, a.out_length, W1);
		expect_eq(smaps(p, "Rss"), 4096 + 4);
		expect_eq(smaps(p, "FilePmdMapped"), huge ? 4096 : 0);
		expect(!madvise(p, a.out_length, MADV_DONTNEED));
		expect_eq(words_check(p, a.out_length, W1), 0);
		close(dmabuf);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect_eq(get_stats(fd).out_used, a.out_length);
		munmap(room, 10 * MIB);
		expect_back_soon(fd, region, &a);
	}
}

static void sync_calls(void)
{
	struct buddy_alloc a;
	int dmabuf, peer = peer_open();

	expect_eq(alloc_block(fd, 3 * PAGE, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	for (int i = 0; i < 2; i++) {
		/* with no device, then with one */
		expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ), 0);
		expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END), 0);
		expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW), 0);
		expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END), 0);
		expect_eq(sync_cpu(dmabuf, 0), -EINVAL);
		expect_eq(sync_cpu(dmabuf, 8), -EINVAL);
		if (!i)
			expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	}
	close(peer);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, SOON));
}

static int sync_device(int peer, uint32_t flags)
{
	struct peer_sync sync = { .flags = flags };

	return call(peer, PEER_SYNC, &sync);
}

/* What the device writes the process reads, and the other way round. */
static void imported_of(uint64_t length, uint32_t through)
{
	int peer = peer_open(), dmabuf;
	struct peer_import i = { .flags = PEER_WRITE };
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, length, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	i.fd = dmabuf;
	expect_eq(call(peer, PEER_IMPORT, &i), 0);
	expect_eq(i.out_entries, 1);
	expect_eq(i.out_contiguous, 1);
	expect_eq(i.out_length, length);
	p = map_fd(dmabuf, length, RW, 0);
	expect_eq(peer_check(peer, through, 0, length, 0), 0);
	expect_eq(peer_fill(peer, through, 0, length, W1), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW), 0);
	expect_eq(words_check(p, length, W1), 0);
	words_fill(p, length, W2);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END), 0);
	expect_eq(peer_check(peer, through, 0, length, W2), 0);
	/* the last word alone; a vmap is an access of the driver's processor */
	if (through == VMAP)
		expect_eq(sync_device(peer, 0), 0);
	expect_eq(peer_fill(peer, through, length - 8, 8, W3), 0);
	expect_eq(peer_check(peer, through, 0, length, W2), 1);
	if (through == VMAP)
		expect_eq(sync_device(peer, PEER_SYNC_END), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ), 0);
	expect_eq(words_check(p, length - 8, W2), 0);
	expect_eq(words_check(p + length - 8, 8, W3), 0);
	expect_eq(sync_cpu(dmabuf, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END), 0);
	munmap(p, length);
	expect_eq(detach(peer), 0);
	close(peer);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

static void imported(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		imported_of(lengths[i], DMA);
}

static void kernel_mapping(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		imported_of(lengths[i], VMAP);
}

/* The device's own rules, which the other cases build on. */
static void wrong_imports(void)
{
	int peer = peer_open(), dmabuf, block;
	struct buddy_share s = { .size = sizeof(s) };
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, PAGE, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	s.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_SHARE, &s), 0);
	block = s.out_fd;
	expect_eq(import(peer, -1, PEER_WRITE), -EBADF);
	/* neither a block fd nor the node is a dma-buf */
	expect_eq(import(peer, block, PEER_WRITE), -EINVAL);
	expect_eq(import(peer, fd, PEER_WRITE), -EINVAL);
	expect_eq(import(peer, dmabuf, PEER_LONGTERM), -EINVAL);
	expect_eq(detach(peer), -ENXIO);
	expect_eq(sync_device(peer, 0), -ENXIO);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), -ENXIO);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), -EBUSY);
	expect_eq(sync_device(peer, 2), -EINVAL);
	expect_eq(peer_fill(peer, DMA, PAGE, 8, W1), -EINVAL);
	expect_eq(peer_fill(peer, VMAP, 8, PAGE, W1), -EINVAL);
	expect_eq(call(peer, PEER_IMPORT, NULL), -EFAULT);
	close(block);
	close(dmabuf);
	close(peer);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect(wait_free(fd, region, SOON));
}

/* No process ever had a mapping of it; what the device wrote is gone, too. */
static void written_by_device_alone(void)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		int peer = peer_open(), dmabuf;
		struct buddy_alloc a;

		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		dmabuf = make_dmabuf(fd, a.out_handle, 0);
		expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
		expect_eq(peer_check(peer, DMA, 0, lengths[i], 0), 0);
		expect_eq(peer_fill(peer, i & 1 ? VMAP : DMA, 0, lengths[i], W1), 0);
		close(dmabuf);
		expect_eq(detach(peer), 0);
		close(peer);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect_back_soon(fd, region, &a);
	}
}

/*
 * The handle is gone; @p or @peer, or both, keep the block. Others take all the
 * rest and fill it, and still it is what it was.
 */
static void expect_kept(const struct buddy_alloc *a, const void *p, int peer,
			uint64_t word)
{
	expect_eq(get_stats(fd).out_used, a->out_length);
	expect_eq(get_stats(fd).out_quarantined, 0);
	take_the_rest(fd, region, a, W3);
	expect_eq(get_stats(fd).out_used, a->out_length);
	if (p)
		expect_eq(words_check(p, a->out_length, word), 0);
	if (peer >= 0)
		expect_eq(peer_check(peer, DMA, 0, a->out_length, word), 0);
}

/* One keeper after the other goes: handle, node, descriptor, mapping, device. */
static void keepers_of(uint64_t length)
{
	int own = device_open(), peer = peer_open(), dmabuf;
	struct buddy_alloc a;
	char *p, *q;

	expect_eq(alloc_block(own, length, &a), 0);
	dmabuf = make_dmabuf(own, a.out_handle, 0);
	expect_eq(free_block(own, a.out_handle), 0);
	expect(map_block(own, &a) == MAP_FAILED && errno == ENXIO);
	p = map_fd(dmabuf, length, RW, 0);
	words_fill(p, length, W1);
	munmap(p, length);
	close(own);
	/* the descriptor alone */
	expect_eq(get_stats(fd).out_used, length);
	p = map_fd(dmabuf, length, RW, 0);
	q = map_fd(dmabuf, length, PROT_READ, 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	close(dmabuf);
	expect_kept(&a, p, peer, W1);
	/* the device alone */
	munmap(p, length);
	munmap(q, length);
	expect_eq(peer_fill(peer, DMA, 0, length, W2), 0);
	expect_kept(&a, NULL, peer, W2);
	expect_eq(detach(peer), 0);
	expect_back_soon(fd, region, &a);
	close(peer);
}

static void keepers(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		keepers_of(lengths[i]);
}

/* A mapping alone: no handle, no node, no descriptor, no device. */
static void mapping_keeps(void)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		int own = device_open(), dmabuf;
		struct buddy_alloc a;
		char *p;

		expect_eq(alloc_block(own, lengths[i], &a), 0);
		dmabuf = make_dmabuf(own, a.out_handle, 0);
		p = map_fd(dmabuf, lengths[i], RW, 0);
		words_fill(p, lengths[i], W1);
		close(dmabuf);
		close(own);
		expect_kept(&a, p, -1, W1);
		words_fill(p, lengths[i], W2);
		/* the last page of it keeps it whole */
		munmap(p, lengths[i] - PAGE);
		expect_eq(get_stats(fd).out_used, lengths[i]);
		munmap(p + lengths[i] - PAGE, PAGE);
		expect_back_soon(fd, region, &a);
	}
}

/* Runs in a child, which it never leaves: exports and waits to be killed. */
static void export_and_wait(int peer, uint64_t length, int socket, int ready)
{
	int own = device_open(), dmabuf;
	struct buddy_alloc a;
	void *p;

	if (alloc_block(own, length, &a))
		_exit(2);
	dmabuf = make_dmabuf(own, a.out_handle, 0);
	p = mmap(NULL, length, RW, MAP_SHARED, dmabuf, 0);
	if (dmabuf < 0 || p == MAP_FAILED)
		_exit(3);
	words_fill(p, length, W1);
	if (peer >= 0 && import(peer, dmabuf, PEER_WRITE))
		_exit(4);
	send_fd(socket, dmabuf);
	if (write(ready, &a, sizeof(a)) == sizeof(a))
		pause();
	_exit(5);
}

/*
 * The exporter is killed. What it passed on, a descriptor or an import of a
 * device of ours, has the block until its end.
 */
static void exporter_dies(uint64_t length, bool by_device)
{
	int peer = peer_open(), dmabuf, pair[2], ready[2];
	struct buddy_alloc a;
	pid_t pid;

	expect(!pipe(ready));
	expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid)
		export_and_wait(by_device ? peer : -1, length, pair[1], ready[1]);
	/* a child that fails must not leave us waiting */
	close(pair[1]);
	close(ready[1]);
	expect_eq(read(ready[0], &a, sizeof(a)), sizeof(a));
	dmabuf = receive_fd(pair[0]);
	expect(dmabuf >= 0);
	if (by_device) {
		close(dmabuf);
		kill_and_wait(pid);
	} else {
		kill_and_wait(pid);
		expect_eq(get_stats(fd).out_used, length);
		expect_eq(lseek(dmabuf, 0, SEEK_END), length);
		expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
		close(dmabuf);
	}
	expect_kept(&a, NULL, peer, W1);
	expect_eq(peer_fill(peer, VMAP, 0, length, W2), 0);
	expect_eq(peer_check(peer, DMA, 0, length, W2), 0);
	close(peer);
	expect_back_soon(fd, region, &a);
	close(pair[0]);
	close(ready[0]);
}

static void passed_then_killed(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		exporter_dies(lengths[i], false);
}

static void imported_then_killed(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		exporter_dies(lengths[i], true);
}

/* Nobody else has anything of it: SIGKILL gives it back, device included. */
static void all_killed(void)
{
	for (size_t i = 0; i < LENGTHS; i++) {
		struct buddy_alloc a;
		int pair[2], ready[2];
		pid_t pid;

		expect(!pipe(ready));
		expect(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		pid = fork();
		if (!pid) {
			close(pair[0]);
			export_and_wait(peer_open(), lengths[i], pair[1], ready[1]);
		}
		close(pair[1]);
		close(ready[1]);
		expect_eq(read(ready[0], &a, sizeof(a)), sizeof(a));
		expect_eq(get_stats(fd).out_used, lengths[i]);
		kill_and_wait(pid);
		/* the descriptor on its way here */
		expect_eq(get_stats(fd).out_used, lengths[i]);
		close(pair[0]);
		expect_back_soon(fd, region, &a);
		close(ready[0]);
	}
}

static void read_only(void)
{
	int peer = peer_open(), dmabuf;
	struct buddy_alloc a;
	char *p, *q;

	expect_eq(alloc_block(fd, 2 * MIB + PAGE, &a), 0);
	p = map_block(fd, &a);
	words_fill(p, a.out_length, W1);
	dmabuf = make_dmabuf(fd, a.out_handle, BUDDY_SHARE_READ_ONLY);
	expect(dmabuf >= 0);
	expect_eq(lseek(dmabuf, 0, SEEK_END), a.out_length);
	expect_eq(map_errno(dmabuf, PAGE, RW, MAP_SHARED, 0), -EACCES);
	expect_eq(map_errno(dmabuf, PAGE, PROT_WRITE, MAP_SHARED, 0), -EACCES);
	q = map_fd(dmabuf, a.out_length, PROT_READ, 0);
	expect_eq(words_check(q, a.out_length, W1), 0);
	expect(mprotect(q, PAGE, RW) && errno == EACCES);
	/* nor pinned for writing by way of that mapping */
	expect_eq(peer_pin(peer, q, PAGE, PEER_WRITE), -EFAULT);
	expect_eq(peer_pin(peer, q, PAGE, PEER_WRITE | PEER_LONGTERM), -EFAULT);
	/* devices may read it, and that alone */
	expect_eq(import(peer, dmabuf, PEER_WRITE), -EACCES);
	expect_eq(detach(peer), -ENXIO);
	expect_eq(import(peer, dmabuf, 0), 0);
	expect_eq(peer_check(peer, DMA, 0, a.out_length, W1), 0);
	expect_eq(peer_fill(peer, DMA, 0, 8, W2), -EACCES);
	words_fill(p, a.out_length, W2);
	expect_eq(words_check(q, a.out_length, W2), 0);
	/* a mapping of the kernel's own would be writable */
	expect_eq(peer_check(peer, VMAP, 0, a.out_length, W2), -EINVAL);
	munmap(p, a.out_length);
	munmap(q, a.out_length);
	close(dmabuf);
	close(peer);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

/* A writable dma-buf for a device that only reads. */
static void device_reads(void)
{
	int peer = peer_open(), dmabuf;
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, 2 * MIB, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(import(peer, dmabuf, 0), 0);
	expect_eq(peer_check(peer, DMA, 0, 2 * MIB, 0), 0);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), -EACCES);
	expect_eq(detach(peer), 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(peer_fill(peer, DMA, 0, 8, W1), 0);
	close(peer);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_back_soon(fd, region, &a);
}

/* Two dma-bufs, a block fd and three devices, all of one block. */
static void many_of_one(void)
{
	struct buddy_share s = { .size = sizeof(s) };
	int peer[3], dmabuf[2];
	struct buddy_alloc a;
	char *p;

	expect_eq(alloc_block(fd, 5 * MIB + PAGE, &a), 0);
	s.handle = a.out_handle;
	expect_eq(call(fd, BUDDY_IOC_SHARE, &s), 0);
	for (int i = 0; i < 2; i++)
		dmabuf[i] = make_dmabuf(fd, a.out_handle, 0);
	for (int i = 0; i < 3; i++) {
		peer[i] = peer_open();
		expect_eq(import(peer[i], dmabuf[i & 1], PEER_WRITE), 0);
	}
	expect_eq(get_stats(fd).out_blocks, 1);
	expect_eq(free_block(fd, a.out_handle), 0);
	close(dmabuf[0]);
	close(dmabuf[1]);
	p = map_fd(s.out_fd, a.out_length, RW, 0);
	close(s.out_fd);
	for (int i = 0; i < 3; i++) {
		expect_eq(peer_fill(peer[i], DMA, 0, a.out_length, W1 + i), 0);
		expect_eq(words_check(p, a.out_length, W1 + i), 0);
	}
	expect_eq(peer_check(peer[0], DMA, 0, a.out_length, W1 + 2), 0);
	expect_eq(detach(peer[1]), 0);
	munmap(p, a.out_length);
	close(peer[2]);
	expect_kept(&a, NULL, peer[0], W1 + 2);
	close(peer[0]);
	close(peer[1]);
	expect_back_soon(fd, region, &a);
}

/*
 * Small blocks share a unit: the device has one, its neighbours come and go. A
 * dma-buf is no reason for quarantine, neither its own nor theirs.
 */
static void neighbours(void)
{
	int own = device_open(), peer = peer_open(), dmabuf;
	struct buddy_alloc a, b;
	char *p, *q;

	expect_eq(alloc_block(own, 3 * PAGE, &a), 0);
	dmabuf = make_dmabuf(own, a.out_handle, 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(peer_fill(peer, DMA, 0, 3 * PAGE, W1), 0);
	p = map_fd(dmabuf, 3 * PAGE, RW, 0);
	for (int i = 0; i < 20; i++) {
		expect_eq(words_check(p, 3 * PAGE, W1), 0);
		expect_eq(alloc_block(own, 200 * PAGE, &b), 0);
		expect_eq(b.out_offset / (2 * MIB), a.out_offset / (2 * MIB));
		q = map_block(own, &b);
		expect_eq(words_check(q, 200 * PAGE, 0), 0);
		words_fill(q, 200 * PAGE, W2);
		munmap(q, 200 * PAGE);
		expect_eq(free_block(own, b.out_handle), 0);
		expect(wait_quarantined(fd, 0, SOON));
	}
	expect_eq(get_stats(fd).out_used, 3 * PAGE);
	expect_eq(get_stats(fd).out_private, 2 * MIB - 3 * PAGE);
	expect_eq(peer_check(peer, DMA, 0, 3 * PAGE, W1), 0);
	/* the unit has no file any more */
	close(own);
	expect_eq(words_check(p, 3 * PAGE, W1), 0);
	close(dmabuf);
	munmap(p, 3 * PAGE);
	expect_kept(&a, NULL, peer, W1);
	close(peer);
	expect_back_soon(fd, region, &a);
}

/* In pieces: a device sees them in the order of the mapping. */
static void scattered_of(uint64_t length)
{
	struct peer_import i = { .flags = PEER_WRITE };
	int peer = peer_open(), count;
	uint32_t fence[FENCE_MAX];
	struct buddy_alloc a;
	char *p;

	count = fence_up(fd, fence);
	expect_eq(alloc_block(fd, length, &a), -ENOMEM);
	expect_eq(scatter_block(fd, length, &a), 0);
	i.fd = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(lseek(i.fd, 0, SEEK_END), length);
	expect_eq(call(peer, PEER_IMPORT, &i), 0);
	expect_eq(i.out_entries, (length + 2 * MIB - 1) / (2 * MIB));
	expect_eq(i.out_contiguous, 0);
	expect_eq(i.out_length, length);
	p = map_fd(i.fd, length, RW, 0);
	for (uint64_t at = 0; at < length; at += PAGE)
		words_fill(p + at, PAGE, at);
	for (uint64_t at = 0; at < length; at += PAGE)
		expect_eq(peer_check(peer, DMA, at, PAGE, at), 0);
	/* across the border of two pieces */
	expect_eq(peer_fill(peer, DMA, 2 * MIB - PAGE, 2 * PAGE, W1), 0);
	expect_eq(words_check(p + 2 * MIB - PAGE, 2 * PAGE, W1), 0);
	/* there is no vmap: one that fails would make the kernel's core warn */
	expect_eq(peer_check(peer, VMAP, 0, PAGE, 0), -EINVAL);
	munmap(p, length);
	close(i.fd);
	expect_eq(free_block(fd, a.out_handle), 0);
	fence_down(fd, fence, count);
	/* the device alone has it, all pieces */
	expect_eq(peer_fill(peer, DMA, 0, length, W2), 0);
	expect_eq(get_stats(fd).out_used, length);
	expect_eq(peer_check(peer, DMA, 0, length, W2), 0);
	expect_eq(detach(peer), 0);
	close(peer);
	expect(wait_free(fd, region, SOON));
	expect_all_zero(region);
}

static void scattered(void)
{
	scattered_of(5 * MIB + PAGE);
	scattered_of(region / 2);
}

/* Its length is the device's business, too, until it lets go. */
static void resized(void)
{
	int peer = peer_open(), dmabuf;
	struct buddy_alloc a;

	expect_eq(alloc_block(fd, 4 * MIB, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	close(dmabuf);
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, MIB), -EBUSY);
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, 6 * MIB), -EBUSY);
	expect_eq(peer_fill(peer, DMA, 0, 4 * MIB, W1), 0);
	expect_eq(detach(peer), 0);
	/* what a device wrote is as dirty as what a process wrote */
	expect_eq(resize(fd, BUDDY_IOC_TRIM, a.out_handle, MIB), 0);
	expect(wait_free(fd, region - 2 * MIB, SOON));
	expect_eq(resize(fd, BUDDY_IOC_GROW, a.out_handle, 6 * MIB), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	expect_eq(lseek(dmabuf, 0, SEEK_END), 6 * MIB);
	expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
	expect_eq(peer_check(peer, DMA, 0, MIB, W1), 0);
	expect_eq(peer_check(peer, DMA, MIB, 5 * MIB, 0), 0);
	close(dmabuf);
	close(peer);
	expect_eq(free_block(fd, a.out_handle), 0);
	a.out_length = 6 * MIB;
	expect_back_soon(fd, region, &a);
}

/* Page-backed, as the mapping of the node is. */
static void direct_io(void)
{
	const char *name = getenv("BUDDY_TEST_DISK");
	int disk = name ? open(name, O_RDWR | O_DIRECT) : -1, dmabuf;
	struct buddy_alloc a;
	char *p;

	if (disk < 0)
		skip("BUDDY_TEST_DISK names no disk to write to");
	for (size_t i = 0; i < LENGTHS; i++) {
		size_t n = lengths[i] < MIB ? lengths[i] : MIB;

		expect_eq(alloc_block(fd, lengths[i], &a), 0);
		dmabuf = make_dmabuf(fd, a.out_handle, 0);
		p = map_fd(dmabuf, lengths[i], RW, 0);
		/* the end of the block, so the tail too */
		p += lengths[i] - n;
		words_fill(p, n, W1 + i);
		expect_eq(pwrite(disk, p, n, 0), n);
		words_fill(p, n, W3);
		expect_eq(pread(disk, p, n, 0), n);
		expect_eq(words_check(p, n, W1 + i), 0);
		munmap(p - (lengths[i] - n), lengths[i]);
		close(dmabuf);
		expect_eq(free_block(fd, a.out_handle), 0);
		expect_back_soon(fd, region, &a);
	}
	close(disk);
}

/* Pages of the mapping, in a pipe or held by a device: quarantine after all. */
static void held(uint64_t length, bool by_device)
{
	int peer = peer_open(), pipes[2], dmabuf;
	struct buddy_alloc a;
	char *p, back[PAGE];
	struct iovec io;

	expect(!pipe(pipes));
	expect_eq(alloc_block(fd, length, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	p = map_fd(dmabuf, length, RW, 0);
	words_fill(p, length, W1);
	io = (struct iovec){ p + length - PAGE, PAGE };
	if (by_device)
		expect_eq(peer_pin(peer, p, length, PEER_WRITE | PEER_LONGTERM), 0);
	else
		expect_eq(vmsplice(pipes[1], &io, 1, 0), PAGE);
	munmap(p, length);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_used, length);
	close(dmabuf);
	expect(wait_quarantined(fd, length, SOON));
	take_the_rest(fd, region, &a, W3);
	if (by_device) {
		expect_eq(peer_check(peer, PEER_THROUGH_PIN, 0, length, W1), 0);
		expect_eq(peer_unpin(peer), 0);
	} else {
		expect_eq(read(pipes[0], back, PAGE), PAGE);
		expect_eq(words_check(back, PAGE, W1), 0);
	}
	expect_back_soon(fd, region, &a);
	close(peer);
	close(pipes[0]);
	close(pipes[1]);
}

static void in_a_pipe(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		held(lengths[i], false);
}

static void pinned(void)
{
	for (size_t i = 0; i < LENGTHS; i++)
		held(lengths[i], true);
}

static void forked(void)
{
	struct buddy_alloc a;
	int dmabuf, go[2], status;
	char *p, c;
	pid_t pid;

	expect(!pipe(go));
	expect_eq(alloc_block(fd, 2 * MIB + PAGE, &a), 0);
	dmabuf = make_dmabuf(fd, a.out_handle, 0);
	p = map_fd(dmabuf, a.out_length, RW, 0);
	words_fill(p, a.out_length, W1);
	pid = fork();
	if (!pid) {
		close(dmabuf);
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(words_check(p, a.out_length, W1) ? 2 : 0);
	}
	munmap(p, a.out_length);
	close(dmabuf);
	expect_eq(free_block(fd, a.out_handle), 0);
	expect_eq(get_stats(fd).out_used, a.out_length);
	expect_eq(write(go[1], "x", 1), 1);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	expect_back_soon(fd, region, &a);
	close(go[0]);
	close(go[1]);
}

/*
 * FREE by one process while the other makes dma-bufs of the same handles, maps
 * them and lends them to a device: what the device wrote is nowhere afterwards.
 */
static void raced(void)
{
	volatile uint32_t *next = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS,
				       -1, 0);
	int own = device_open(), peer = peer_open(), made = 0;
	double end = now() + 3;
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			if (*next)
				free_block(own, *next);
	}
	for (int i = 0; now() < end; i++) {
		uint64_t length = lengths[i % LENGTHS];
		struct buddy_alloc a;
		int dmabuf;

		if (alloc_block(own, length, &a))
			continue;
		*next = a.out_handle;
		dmabuf = make_dmabuf(own, a.out_handle, 0);
		if (dmabuf < 0) {
			expect_eq(dmabuf, -ENOENT);
			continue;
		}
		made++;
		expect_eq(import(peer, dmabuf, PEER_WRITE), 0);
		close(dmabuf);
		expect_eq(peer_check(peer, DMA, 0, length, 0), 0);
		expect_eq(peer_fill(peer, DMA, 0, length, W1), 0);
		expect_eq(peer_check(peer, DMA, 0, length, W1), 0);
		expect_eq(detach(peer), 0);
	}
	printf("# %d dma-bufs made in time\n", made);
	kill_and_wait(pid);
	close(own);
	close(peer);
	munmap((void *)next, PAGE);
	expect(wait_free(fd, region, 5));
}

int main(void)
{
	static const struct tap_case cases[] = {
		{ "wrong calls", wrong_calls },
		{ "no descriptor left", no_descriptor_left },
		{ "a reply that cannot be written", reply_fault },
		{ "what the descriptor can do", descriptor },
		{ "mappings, whole and in part", mappings },
		{ "mappings at any address", at_any_address },
		{ "DMA_BUF_IOCTL_SYNC", sync_calls },
		{ "wrong imports", wrong_imports },
		{ "a device sees one range, and what the process writes", imported },
		{ "the kernel's mapping of it", kernel_mapping },
		{ "a device that only reads", device_reads },
		{ "written by the device alone", written_by_device_alone },
		{ "kept by descriptor, mapping or device", keepers },
		{ "kept by a mapping alone", mapping_keeps },
		{ "passed on, then the exporter is killed", passed_then_killed },
		{ "imported, then the exporter is killed", imported_then_killed },
		{ "exporter and importer are killed", all_killed },
		{ "read-only", read_only },
		{ "several dma-bufs and devices of one block", many_of_one },
		{ "neighbours in the unit", neighbours },
		{ "a scattered block", scattered },
		{ "TRIM and GROW, before and after", resized },
		{ "O_DIRECT on its mapping", direct_io },
		{ "its pages in a pipe", in_a_pipe },
		{ "its mapping pinned by a device", pinned },
		{ "fork shares the mapping", forked },
		{ "FREE and DMABUF at once", raced },
	};

	return run_cases(cases, TAP_COUNT(cases), &fd, &region);
}
