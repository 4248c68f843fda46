// SPDX-License-Identifier: MIT
/*
 * holder.c - holds a block in one way and no other, for tests that unload the
 * module meanwhile. Needs root, the module and buddy_peer.ko.
 *
 * Usage: holder HOW LENGTH
 *
 * HOW: map, share, dmabuf, import (these keep the module); pin, pipe (the pages
 * alone). Prints "ready", reads a byte, looks whether the block is what it was and
 * can be written, lets go, and ends with 0 if all was well.
 */
#define _GNU_SOURCE
#include "peer_calls.h"

#define WORD	0x1234567887654321ull
#define OTHER	0x8765432112345678ull

static uint64_t length;
static char *block;
static int peer, pipes[2], held = -1;

static uint64_t piped(void)
{
	return length < 16 * PAGE ? length : 16 * PAGE;
}

/* Something of the block's end, so of its tail. */
static void hold_pipe(int node, uint64_t handle)
{
	struct iovec io = { block + length - piped(), piped() };

	(void)node;
	(void)handle;
	expect(!pipe(pipes));
	expect_eq(vmsplice(pipes[1], &io, 1, 0), piped());
}

static void check_pipe(void)
{
	char *back = malloc(piped());

	expect_eq(read(pipes[0], back, piped()), piped());
	expect_eq(words_check(back, piped(), WORD), 0);
	free(back);
}

static void hold_pin(int node, uint64_t handle)
{
	(void)node;
	(void)handle;
	expect_eq(peer_pin(peer, block, length, PEER_WRITE | PEER_LONGTERM), 0);
}

static void check_peer(uint32_t through)
{
	expect_eq(peer_check(peer, through, 0, length, WORD), 0);
	expect_eq(peer_fill(peer, through, 0, length, OTHER), 0);
	expect_eq(peer_check(peer, through, 0, length, OTHER), 0);
}

static void check_pin(void)
{
	check_peer(PEER_THROUGH_PIN);
}

static void check_import(void)
{
	check_peer(PEER_THROUGH_DMA);
}

static void hold_file(int node, uint64_t handle, unsigned long command)
{
	struct buddy_share s = { .size = sizeof(s), .handle = handle };

	expect_eq(call(node, command, &s), 0);
	held = s.out_fd;
}

static void hold_share(int node, uint64_t handle)
{
	hold_file(node, handle, BUDDY_IOC_SHARE);
}

static void hold_dmabuf(int node, uint64_t handle)
{
	hold_file(node, handle, BUDDY_IOC_DMABUF);
}

static void hold_import(int node, uint64_t handle)
{
	struct peer_import i = { .flags = PEER_WRITE };

	hold_file(node, handle, BUDDY_IOC_DMABUF);
	i.fd = held;
	expect_eq(call(peer, PEER_IMPORT, &i), 0);
	close(held);
}

static void check_file(void)
{
	block = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, held, 0);
	expect(block != MAP_FAILED);
	if (block != MAP_FAILED)
		expect_eq(words_check(block, length, WORD), 0);
}

static void hold_map(int node, uint64_t handle)
{
	(void)node;
	(void)handle;
}

static void check_map(void)
{
	expect_eq(words_check(block, length, WORD), 0);
	words_fill(block, length, OTHER);
}

static const struct way {
	const char *name;
	void (*hold)(int node, uint64_t handle);
	void (*check)(void);
	bool mapped;
} ways[] = {
	{ "map", hold_map, check_map, true },
	{ "share", hold_share, check_file, false },
	{ "dmabuf", hold_dmabuf, check_file, false },
	{ "import", hold_import, check_import, false },
	{ "pin", hold_pin, check_pin, false },
	{ "pipe", hold_pipe, check_pipe, false },
};

static void run(const struct way *way)
{
	int node = device_open();
	struct buddy_alloc a;
	char byte;

	peer = peer_open();
	expect_eq(alloc_block(node, length, &a), 0);
	block = map_block(node, &a);
	if (block == MAP_FAILED)
		exit(1);
	words_fill(block, length, WORD);
	way->hold(node, a.out_handle);
	if (!way->mapped)
		munmap(block, length);
	close(node);
	printf("ready\n");
	fflush(stdout);
	expect_eq(read(STDIN_FILENO, &byte, 1), 1);
	way->check();
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	length = strtoull(argv[2], NULL, 0);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(ways[i].name, argv[1]))
			continue;
		run(&ways[i]);
		return tap_failures ? 1 : 0;
	}
	return 2;
}
