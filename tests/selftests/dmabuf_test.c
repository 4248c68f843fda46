// SPDX-License-Identifier: MIT
/*
 * dmabuf_test.c - a block as a dma-buf: what the descriptor can do, what it cannot,
 * and its mappings, which are as those of the node. Needs root, the module and
 * buddy_peer.ko; BUDDY_TEST_DISK may name a disk to write to.
 */
#define _GNU_SOURCE

#include "ktest.h"
#include "dmabuf_calls.h"
#include "share_calls.h"

TEST_F(device, no_descriptor_left)
{
	expect_no_descriptor_left(BUDDY_IOC_DMABUF);
}

TEST_F(device, a_reply_that_cannot_be_written)
{
	expect_reply_fault(BUDDY_IOC_DMABUF);
}

TEST_F(device, what_the_descriptor_can_do)
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

TEST_F(device, mappings_whole_and_in_part)
{
	for (size_t i = 0; i < LENGTHS; i++)
		mappings_of(lengths[i]);
}

/* dma-bufs do not ask for aligned addresses: every one has to do. */
TEST_F(device, mappings_at_any_address)
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

TEST_F(device, dma_buf_ioctl_sync)
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

TEST_F(device, read_only)
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

/* Page-backed, as the mapping of the node is. */
TEST_F(device, direct_io)
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
	if (!by_device)
		/* its last unit, or what the block has of that */
		a = part_with(&a, length - PAGE);
	settled_stats(fd, a.out_length);
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

TEST_F(device, its_pages_in_a_pipe)
{
	for (size_t i = 0; i < LENGTHS; i++)
		held(lengths[i], false);
}

TEST_F(device, its_mapping_pinned_by_a_device)
{
	for (size_t i = 0; i < LENGTHS; i++)
		held(lengths[i], true);
}

TEST_F(device, fork_shares_the_mapping)
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

TEST_HARNESS_MAIN
