// SPDX-License-Identifier: MIT
/*
 * hold.c - buddyctl alloc, hold, share, load, recv: a block, and who has it until when.
 *
 * hold, share and load are one thing: a block, empty or with the contents of a file,
 * kept until a signal comes or COMMAND ends; meanwhile who connects to the socket
 * gets a descriptor of it. recv is the other side.
 *
 * COMMAND has the descriptor as number $BUDDY_FD, open across exec; $BUDDY_LENGTH says
 * its bytes. It maps it with mmap() at offset 0.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buddyctl.h"
#include "load.h"
#include "pass.h"

/* --- one block --------------------------------------------------------------- */

static int wrong_length(const char *text)
{
	fprintf(stderr, "buddyctl: no length: %s; as in 4096, 64K, 512M, 1.5G\n", text);
	return CTL_SAID + 2;
}

static int no_memory(const struct buddy_alloc *r)
{
	fprintf(stderr,
		"buddyctl: no free range of %s: %s are free, the largest range is %s, and %s are on their way back%s\n",
		ctl_bytes(r->length), ctl_bytes(r->out_free), ctl_bytes(r->out_largest),
		ctl_bytes(r->out_returning),
		!(r->flags & BUDDY_ALLOC_SCATTER) && r->out_free > r->length ?
		"; --scatter needs no single range" : "");
	return CTL_SAID + 1;
}

/* Allocates as the options say. Return: 0, a negative errno, or said. */
static int take(const struct ctl *ctl, uint64_t length, struct buddy_block **block)
{
	struct buddy_alloc request = {
		.length = length, .align = ctl->align, .flags = ctl->flags,
	};
	int err = buddy_block_request(ctl->dev, &request, block);

	return err == -ENOMEM ? no_memory(&request) : err;
}

static void print_block(const struct ctl *ctl, const struct buddy_block *block, double seconds)
{
	uint64_t length = buddy_block_length(block), offset = buddy_block_offset(block);

	if (ctl->format == CTL_JSON)
		printf("{ \"length\": %" PRIu64 ", \"offset\": %" PRIu64
		       ", \"pid\": %d, \"allocation_us\": %.1f }\n", length, offset,
		       getpid(), seconds * 1e6);
	else
		printf("%s (%" PRIu64 " bytes) at offset 0x%" PRIx64 ", process %d, in %.1f us\n",
		       ctl_bytes(length), length, offset, getpid(), seconds * 1e6);
	fflush(stdout);
}

/* Return: as take(). */
static int take_and_print(const struct ctl *ctl, uint64_t length, struct buddy_block **block)
{
	double began = ctl_now();
	int err = take(ctl, length, block);

	if (!err)
		print_block(ctl, *block, ctl_now() - began);
	return err;
}

/* The same for the length that the first operand is. */
static int take_operand(const struct ctl *ctl, struct buddy_block **block)
{
	uint64_t length;

	if (!ctl_parse_bytes(ctl->operands[0], &length))
		return wrong_length(ctl->operands[0]);
	return take_and_print(ctl, length, block);
}

int ctl_alloc(const struct ctl *ctl)
{
	struct buddy_block *block;
	int err = take_operand(ctl, &block);

	return err ? err : buddy_block_free(block);
}

/* --- until when -------------------------------------------------------------- */

/*
 * Signals that end a hold, by a descriptor; the child gets them back. One that is
 * ignored stays so, as nohup wants it: blocked, it would come all the same.
 */
static int catch_signals(sigset_t *before)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction was;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!sigaction(ends[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	signal(SIGCHLD, SIG_DFL);	/* ignored, as it may be inherited, it never comes */
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, before);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Runs @argv with the descriptor. Return: its process or a negative errno. */
static pid_t start(char **argv, int fd, uint64_t length, const sigset_t *signals)
{
	char number[16], bytes[32];
	pid_t child = fork();
	int err;

	if (child)
		return child < 0 ? -errno : child;
	sigprocmask(SIG_SETMASK, signals, NULL);
	snprintf(number, sizeof(number), "%d", fd);
	snprintf(bytes, sizeof(bytes), "%" PRIu64, length);
	if (fd >= 0) {
		fcntl(fd, F_SETFD, 0);
		setenv("BUDDY_FD", number, 1);
		setenv("BUDDY_LENGTH", bytes, 1);
	}
	execvp(argv[0], argv);
	err = errno;
	fprintf(stderr, "buddyctl: %s: %s\n", argv[0], strerror(err));
	_exit(err == ENOENT ? 127 : 126);
}

/* Return: -1 to go on, or the exit status to end with. */
static int take_signal(int signals, pid_t child)
{
	struct signalfd_siginfo info;
	int status;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return -1;
	if (info.ssi_signo != SIGCHLD) {
		/* the command decides what a signal means */
		if (child <= 0)
			return 0;
		/* what a terminal sends, it sends to all of its foreground */
		if (info.ssi_code != SI_KERNEL || getpgid(child) != getpgrp())
			kill(child, (int)info.ssi_signo);
		return -1;
	}
	if (child <= 0 || waitpid(child, &status, WNOHANG) != child)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Gives @fd to who asks, until the end. Return: an exit status. */
static int serve(int signals, int listener, int fd, pid_t child)
{
	struct pollfd polls[2] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = listener, .events = POLLIN },
	};
	int status = -1, err;
	pid_t who;

	while (status < 0) {
		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[0].revents)
			status = take_signal(signals, child);
		if (status < 0 && polls[1].revents) {
			err = pass_give(listener, fd, &who);
			if (!err)
				fprintf(stderr, "buddyctl: given to process %d\n", (int)who);
			else if (err != -EAGAIN)
				fprintf(stderr, "buddyctl: not given: %s\n", strerror(-err));
		}
	}
	return status;
}

/* Holds what @fd is, with @argv or alone. Return: said, or a negative errno. */
static int hold_fd(const char *socket, int fd, uint64_t length, char **argv)
{
	int signals, listener = -1, status;
	sigset_t before;
	pid_t child = 0;

	if (socket) {
		listener = pass_listen(socket);
		if (listener == -EADDRINUSE)
			fprintf(stderr, "buddyctl: %s is there already; remove it if nobody uses it\n",
				socket);
		if (listener < 0)
			return listener == -EADDRINUSE ? CTL_SAID + 1 : ctl_failed(socket, listener);
	}
	signals = catch_signals(&before);
	if (signals >= 0 && *argv)
		child = start(argv, fd, length, &before);
	if (signals < 0 || child < 0)
		status = 1;
	else
		status = serve(signals, listener, fd, child);
	if (listener >= 0) {
		unlink(socket);
		close(listener);
	}
	if (signals >= 0)
		close(signals);
	return CTL_SAID + status;
}

/* --- the commands ------------------------------------------------------------ */

static int hold_block(const struct ctl *ctl, struct buddy_block *block,
		      const char *socket, char **argv)
{
	int fd = -1, err;

	/* The block is ours to write; others and the command have it by descriptor. */
	if (socket || *argv) {
		fd = buddy_block_share(block, ctl->share_flags);
		if (fd == -EOPNOTSUPP) {
			fputs("buddyctl: blocks of the process backend cannot be given to others\n",
			      stderr);
			return CTL_SAID + 1;
		}
		if (fd < 0)
			return fd;
	}
	err = hold_fd(socket, fd, buddy_block_length(block), argv);
	if (fd >= 0)
		close(fd);
	return err == CTL_SAID ? 0 : err;
}

static int hold_length(const struct ctl *ctl, const char *socket, char **argv)
{
	struct buddy_block *block;
	int err = take_operand(ctl, &block);

	if (err)
		return err;
	err = hold_block(ctl, block, socket, argv);
	buddy_block_free(block);
	return err;
}

int ctl_hold(const struct ctl *ctl)
{
	return hold_length(ctl, ctl->socket, ctl->argv);
}

int ctl_share(const struct ctl *ctl)
{
	return hold_length(ctl, ctl->operands[1], ctl->argv);
}

int ctl_load(const struct ctl *ctl)
{
	struct load load;
	struct buddy_block *block;
	void *memory;
	int err = load_open(ctl->operands[0], &load);

	if (err)
		return ctl_failed(ctl->operands[0], err);
	err = take_and_print(ctl, load.length, &block);
	if (!err) {
		err = buddy_block_map(block, &memory);
		if (!err)
			err = load_read(&load, memory, buddy_block_length(block));
		if (err < 0)
			err = ctl_failed(ctl->operands[0], err);
		if (!err)
			err = hold_block(ctl, block, ctl->socket, ctl->argv);
		buddy_block_free(block);
	}
	load_close(&load);
	return err;
}

/* Writes all of the block to @path. Return: 0 or said. */
static int write_out(int fd, uint64_t length, const char *path)
{
	bool standard = !strcmp(path, "-");
	int to = standard ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	char *p = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	int err = to < 0 || p == MAP_FAILED ? -errno : 0;

	for (uint64_t done = 0; !err && done < length;) {
		uint64_t part = length - done < 1 << 26 ? length - done : 1 << 26;
		ssize_t n = write(to, p + done, part);

		if (n < 0)
			err = -errno;
		else
			done += (uint64_t)n;
	}
	if (p != MAP_FAILED)
		munmap(p, length);
	if (to >= 0 && !standard && close(to) && !err)
		err = -errno;
	return err ? ctl_failed(path, err) : 0;
}

int ctl_recv(const struct ctl *ctl)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	const char *socket = ctl->operands[0];
	int fd = pass_get(socket), err = 0;

	if (fd < 0)
		return ctl_failed(socket, fd);
	if (ioctl(fd, BUDDY_IOC_BLOCK, &info)) {
		close(fd);
		fprintf(stderr, "buddyctl: %s: what came is no block\n", socket);
		return CTL_SAID + 1;
	}
	if (!ctl->output || strcmp(ctl->output, "-")) {
		if (ctl->format == CTL_JSON)
			printf("{ \"length\": %" PRIu64 " }\n", (uint64_t)info.out_length);
		else
			printf("%s (%" PRIu64 " bytes)\n", ctl_bytes(info.out_length),
			       (uint64_t)info.out_length);
		fflush(stdout);
	}
	if (ctl->output)
		err = write_out(fd, info.out_length, ctl->output);
	if (!err && *ctl->argv)
		err = hold_fd(NULL, fd, info.out_length, ctl->argv);
	close(fd);
	return err == CTL_SAID ? 0 : err;
}
