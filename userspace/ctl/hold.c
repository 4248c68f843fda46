// SPDX-License-Identifier: MIT
/*
 * hold.c - buddyctl alloc, hold, share, load, recv: a block, and who has it until when.
 *
 * hold, share and load are one thing: a block, empty or with the contents of a file,
 * kept until a signal comes or COMMAND ends; meanwhile who connects to the socket
 * gets a descriptor of it. recv is the other side.
 *
 * COMMAND has the descriptor as number $BUDDY_FD, open across exec; $BUDDY_LENGTH says
 * its bytes, $BUDDY_CONTENTS how many of these are of the file that was loaded. It maps
 * it with mmap() at offset 0.
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
	fprintf(stderr, "buddyctl: no length: %s; as in 4096, 64K, 512M, 1.5G, 25%%\n", text);
	return CTL_SAID + 2;
}

static int no_memory(const struct buddy_alloc *r)
{
	const char *hint = "";

	if (r->flags & BUDDY_ALLOC_ALONE && !r->out_largest)
		hint = "; --alone takes whole units of 2 MiB";
	else if (!(r->flags & BUDDY_ALLOC_SCATTER) && r->out_free > r->length)
		hint = "; --scatter needs no single range";
	fprintf(stderr,
		"buddyctl: no free range of %s: %s are free, the largest range is %s, and %s are being reclaimed%s\n",
		ctl_bytes(r->length), ctl_bytes(r->out_free), ctl_bytes(r->out_largest),
		ctl_bytes(r->out_returning), hint);
	return CTL_SAID + 1;
}

/* Allocates as the options say, in so many @seconds. Return: 0, a negative errno, or said. */
static int take(const struct ctl *ctl, uint64_t length, struct buddy_block **block,
		double *seconds)
{
	struct buddy_alloc request = {
		.length = length, .align = ctl->align, .flags = ctl->flags,
	};
	struct buddy_info info;
	double began;
	int err = buddy_dev_info(ctl->dev, &info);

	if (err)
		return err;
	if (ctl->align > info.out_max_align) {
		fprintf(stderr, "buddyctl: --align: %s is more than the max alignment, %s\n",
			ctl_bytes(ctl->align), ctl_bytes(info.out_max_align));
		return CTL_SAID + 2;
	}
	began = ctl_now();
	err = buddy_block_request(ctl->dev, &request, block);
	*seconds = ctl_now() - began;
	return err == -ENOMEM && request.out_largest < length ? no_memory(&request) : err;
}

/* @load is what was read into it, or NULL. */
static void print_block(const struct ctl *ctl, const struct buddy_block *block, double seconds,
			const struct load *load)
{
	uint64_t length = buddy_block_length(block), offset = buddy_block_offset(block);

	if (ctl->format == CTL_JSON)
		printf("{ \"length\": %" PRIu64 ", \"offset\": %" PRIu64
		       ", \"pid\": %d, \"allocation_us\": %.1f", length, offset,
		       getpid(), seconds * 1e6);
	else
		printf("%s (%" PRIu64 " bytes) at offset 0x%" PRIx64 ", process %d, in %.1f us\n",
		       ctl_bytes(length), length, offset, getpid(), seconds * 1e6);
	if (ctl->format == CTL_JSON && load)
		printf(", \"bytes\": %" PRIu64 ", \"seconds\": %.3f, \"direct\": %s", load->length,
		       load->seconds, load->direct ? "true" : "false");
	if (ctl->format == CTL_JSON)
		puts(" }");
	fflush(stdout);
}

/* A block of the length that the first operand is, printed. Return: as take(). */
static int take_operand(const struct ctl *ctl, struct buddy_block **block)
{
	struct buddy_info info;
	uint64_t length;
	double seconds;
	int err = buddy_dev_info(ctl->dev, &info);

	if (err)
		return err;
	if (!ctl_parse_bytes(ctl->operands[0], info.out_region, &length))
		return wrong_length(ctl->operands[0]);
	err = take(ctl, length, block, &seconds);
	if (!err)
		print_block(ctl, *block, seconds, NULL);
	return err;
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
static int catch_signals(sigset_t *set, sigset_t *before)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction was;
	int fd;

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!sigaction(ends[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(set, ends[i]);
	sigprocmask(SIG_BLOCK, set, before);
	fd = signalfd(-1, set, SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A block that is kept, and who may have it. */
struct holder {
	int signals;		/* a descriptor of those that end it */
	sigset_t set, before;	/* these; and what COMMAND has blocked */
	struct pass_place place;
	struct pass_block block;
	uint64_t length;
};

/* Catches signals and listens at @socket, if that is given. Return: 0 or said. */
static int prepare(struct holder *h, const char *socket)
{
	int err;

	*h = (struct holder){ .place.fd = -1, .block.fd = -1 };
	h->signals = catch_signals(&h->set, &h->before);
	if (h->signals < 0)
		return ctl_failed("signalfd", h->signals);
	err = socket ? pass_listen(socket, &h->place) : 0;
	if (!err)
		return 0;
	close(h->signals);
	if (err != -EADDRINUSE)
		return ctl_failed(*socket ? socket : "the name of the socket", err);
	fprintf(stderr, "buddyctl: %s is there already; remove it if nobody uses it\n", socket);
	return CTL_SAID + 1;
}

static void let_go(struct holder *h)
{
	pass_leave(&h->place);
	close(h->signals);
	if (h->block.fd >= 0)
		close(h->block.fd);
}

static void set_number(const char *name, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	setenv(name, text, 1);
}

/* Runs @argv with the descriptor. Return: its process or a negative errno. */
static pid_t start(const struct holder *h, char **argv)
{
	pid_t child = fork();
	int err;

	if (child)
		return child < 0 ? -errno : child;
	sigprocmask(SIG_SETMASK, &h->before, NULL);
	fcntl(h->block.fd, F_SETFD, 0);
	set_number("BUDDY_FD", (uint64_t)h->block.fd);
	set_number("BUDDY_LENGTH", h->length);
	set_number("BUDDY_CONTENTS", h->block.contents);
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

/* One who asks gets it. Nobody who does not read what we say keeps us from that. */
static void give(const struct holder *h)
{
	struct pollfd said = { .fd = STDERR_FILENO, .events = POLLOUT };
	pid_t who;
	int err = pass_give(&h->place, &h->block, &who);

	if (err == -EAGAIN || poll(&said, 1, 0) != 1 || !(said.revents & POLLOUT))
		return;
	if (err)
		fprintf(stderr, "buddyctl: not given: %s\n", strerror(-err));
	else
		fprintf(stderr, "buddyctl: given to process %d\n", (int)who);
}

/* Gives the block to who asks, until the end. Return: an exit status. */
static int serve(const struct holder *h, pid_t child)
{
	struct pollfd polls[2] = {
		{ .fd = h->signals, .events = POLLIN },
		{ .fd = h->place.fd, .events = POLLIN },
	};
	int status = -1;

	signal(SIGPIPE, SIG_IGN);	/* who read our standard error may be gone */
	while (status < 0) {
		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[0].revents)
			status = take_signal(h->signals, child);
		if (status < 0 && polls[1].revents)
			give(h);
	}
	return status;
}

/*
 * Holds the block, with @argv or alone. Return: 0 where a signal ended it, said where a
 * command did.
 */
static int hold(struct holder *h, char **argv)
{
	pid_t child;

	if (!*argv)
		return serve(h, 0);
	signal(SIGCHLD, SIG_DFL);	/* ignored, as it may be inherited, it never comes */
	sigaddset(&h->set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &h->set, NULL);
	if (signalfd(h->signals, &h->set, 0) < 0)
		return ctl_failed("signalfd", errno);
	child = start(h, argv);
	return child < 0 ? ctl_failed("fork", child) : CTL_SAID + serve(h, child);
}

/* --- the commands ------------------------------------------------------------ */

/* Return: as hold(), or a negative errno. */
static int hold_block(const struct ctl *ctl, struct holder *h, struct buddy_block *block)
{
	/* The block is ours to write; others and the command have it by descriptor. */
	if (h->place.fd >= 0 || *ctl->argv) {
		int fd = buddy_block_share(block, ctl->share_flags);

		if (fd < 0)
			return fd;
		h->block.fd = fd;
	}
	h->length = buddy_block_length(block);
	if (!h->block.contents)
		h->block.contents = h->length;
	return hold(h, ctl->argv);
}

static int hold_length(const struct ctl *ctl, const char *socket)
{
	struct buddy_block *block;
	struct holder h;
	int err = take_operand(ctl, &block);

	if (err)
		return err;
	err = prepare(&h, socket);
	if (!err) {
		err = hold_block(ctl, &h, block);
		let_go(&h);
	}
	buddy_block_free(block);
	return err;
}

int ctl_hold(const struct ctl *ctl)
{
	return hold_length(ctl, ctl->socket);
}

int ctl_share(const struct ctl *ctl)
{
	return hold_length(ctl, ctl->operands[1]);
}

/* Return: 0, a negative errno, or said; a signal that comes meanwhile ends it as it would have ended us. */
static int read_file(struct holder *h, struct load *load, struct buddy_block *block)
{
	struct signalfd_siginfo info;
	void *memory;
	int err = buddy_block_map(block, &memory);

	if (err)
		return err;
	err = load_read(load, memory, buddy_block_length(block), h->signals);
	if (err == -EINTR && read(h->signals, &info, sizeof(info)) == sizeof(info)) {
		fprintf(stderr, "buddyctl: %s: stopped by a signal\n", load->path);
		return CTL_SAID + 128 + (int)info.ssi_signo;
	}
	h->block.contents = load->length;
	return err ? ctl_failed(load->path, err) : 0;
}

static int load_and_hold(const struct ctl *ctl, struct load *load)
{
	struct buddy_block *block;
	struct holder h;
	double seconds;
	int err = take(ctl, load->length, &block, &seconds);

	if (err)
		return err;
	/* a socket that cannot be had is known before all is read; who is early waits */
	err = prepare(&h, ctl->socket);
	if (!err) {
		err = read_file(&h, load, block);
		if (!err) {
			print_block(ctl, block, seconds, load);
			err = hold_block(ctl, &h, block);
		}
		let_go(&h);
	}
	buddy_block_free(block);
	return err;
}

int ctl_load(const struct ctl *ctl)
{
	struct load load;
	int err = load_open(ctl->operands[0], &load);

	if (err)
		return err;
	err = load_and_hold(ctl, &load);
	load_close(&load);
	return err;
}

/* Writes the first @length bytes of the block to @path. Return: 0 or said. */
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

static void print_received(const struct ctl *ctl, uint64_t length, uint64_t contents)
{
	if (ctl->format == CTL_JSON)
		printf("{ \"length\": %" PRIu64 ", \"contents\": %" PRIu64 " }\n", length, contents);
	else if (contents == length)
		printf("%s (%" PRIu64 " bytes)\n", ctl_bytes(length), length);
	else
		printf("%s (%" PRIu64 " bytes, %" PRIu64 " of them contents)\n", ctl_bytes(length),
		       length, contents);
	fflush(stdout);
}

/* Return: as hold(). */
static int hold_received(const struct ctl *ctl, const struct pass_block *block, uint64_t length)
{
	struct holder h;
	int err = prepare(&h, NULL);

	if (err)
		return err;
	h.block = *block;
	h.length = length;
	err = hold(&h, ctl->argv);
	h.block.fd = -1;	/* its owner closes it */
	let_go(&h);
	return err;
}

int ctl_recv(const struct ctl *ctl)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	const char *socket = ctl->operands[0];
	struct pass_block block;
	int err = pass_get(socket, &block);

	if (err)
		return ctl_failed(*socket ? socket : "the name of the socket", err);
	if (ioctl(block.fd, BUDDY_IOC_BLOCK, &info)) {
		close(block.fd);
		fprintf(stderr, "buddyctl: %s: what came is no block\n", socket);
		return CTL_SAID + 1;
	}
	if (!block.contents || block.contents > info.out_length)
		block.contents = info.out_length;
	if (!ctl->output || strcmp(ctl->output, "-"))
		print_received(ctl, info.out_length, block.contents);
	if (ctl->output)
		err = write_out(block.fd, block.contents, ctl->output);
	if (!err && *ctl->argv)
		err = hold_received(ctl, &block, info.out_length);
	close(block.fd);
	return err;
}
