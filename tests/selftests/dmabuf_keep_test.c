// SPDX-License-Identifier: MIT
/*
 * dmabuf_keep_test.c - how long a descriptor, a mapping and a device each keep the
 * block of a dma-buf, whoever is killed meanwhile. Needs root, the module and
 * buddy_peer.ko.
 */
#define _GNU_SOURCE
#include "ktest.h"
#include "dmabuf_calls.h"

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

TEST_F(device, kept_by_descriptor_mapping_or_device)
{
	for (size_t i = 0; i < LENGTHS; i++)
		keepers_of(lengths[i]);
}

/* A mapping alone: no handle, no node, no descriptor, no device. */
TEST_F(device, kept_by_a_mapping_alone)
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

TEST_F(device, passed_on_then_the_exporter_is_killed)
{
	for (size_t i = 0; i < LENGTHS; i++)
		exporter_dies(lengths[i], false);
}

TEST_F(device, imported_then_the_exporter_is_killed)
{
	for (size_t i = 0; i < LENGTHS; i++)
		exporter_dies(lengths[i], true);
}

/* Nobody else has anything of it: SIGKILL gives it back, device included. */
TEST_F(device, exporter_and_importer_are_killed)
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

/* Two dma-bufs, a block fd and three devices, all of one block. */
TEST_F(device, several_dmabufs_and_devices_of_one_block)
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
TEST_F(device, neighbours_in_the_unit)
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
		settled_stats(fd, 0);
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

/*
 * FREE by one process while the other makes dma-bufs of the same handles, maps
 * them and lends them to a device: what the device wrote is nowhere afterwards.
 */
TEST_F(device, free_and_dmabuf_at_once)
{
	volatile uint64_t *next = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS,
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

TEST_HARNESS_MAIN
