// SPDX-License-Identifier: MIT
/*
 * process_test.c - what others do to a process that has blocks, and what is done to
 * the machine below them: debuggers, core dumps, exit and exec at a bad moment,
 * offline memory, compaction, migration. The rows of docs/behaviour.md about these.
 * Needs root, the module, and a machine that may be spoilt.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ktest.h"

/* A small block, and one that is mapped by huge pages where there are any. */
static const uint64_t lengths[] = { 3 * PAGE, 4 * MIB };

/* 0 or a negative errno. */
static int write_file(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), err = 0;

	if (file < 0 || write(file, text, strlen(text)) < 0)
		err = -errno;
	if (file >= 0)
		close(file);
	return err;
}

static bool read_file(const char *path, char *text, size_t room)
{
	int file = open(path, O_RDONLY);
	ssize_t n = file < 0 ? -1 : read(file, text, room - 1);

	if (file >= 0)
		close(file);
	if (n < 0)
		return false;
	text[n] = 0;
	return true;
}

/* A child that has the mappings of its parent, stopped and traced by it. */
static pid_t traced_child(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	expect(WIFSTOPPED(status));
	return pid;
}

static void end_traced(pid_t pid)
{
	int status;

	ptrace(PTRACE_CONT, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

static void *map_as(const struct buddy_alloc *a, int prot)
{
	return mmap(NULL, a->out_length, prot, MAP_SHARED, fd, (off_t)a->out_offset);
}

static void peek(pid_t pid, char *p, long wanted)
{
	errno = 0;
	expect_eq(ptrace(PTRACE_PEEKDATA, pid, p, NULL), wanted);
	expect_eq(errno, 0);
}

TEST_F(device, ptrace_peek_poke)
{
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p, *readable, *none;
		pid_t pid;

		expect_eq(alloc_block(fd, lengths[l], &a), 0);
		p = map_block(fd, &a);
		readable = map_as(&a, PROT_READ);
		none = map_as(&a, PROT_NONE);
		pid = traced_child();
		/* the first touch of all */
		peek(pid, p + PAGE, 0);
		expect_eq(ptrace(PTRACE_POKEDATA, pid, p + PAGE, 42L), 0);
		expect_eq(p[PAGE], 42);
		peek(pid, readable + PAGE, 42);
		peek(pid, none + PAGE, 42);
		expect_eq(result(ptrace(PTRACE_POKEDATA, pid, readable, 1L)), -EIO);
		expect_eq(result(ptrace(PTRACE_POKEDATA, pid, none, 1L)), -EIO);
		expect_eq(p[0], 0);
		end_traced(pid);
		munmap(readable, lengths[l]);
		munmap(none, lengths[l]);
		give_back(fd, p, &a);
	}
}

TEST_F(device, proc_pid_mem)
{
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a), path[64], copy[PAGE];
		char *readable = map_as(&a, PROT_READ);
		off_t at = (off_t)(uintptr_t)(p + PAGE + 7);
		pid_t pid = traced_child();
		int file;

		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		file = open(path, O_RDWR);
		expect_eq(pread(file, copy, PAGE, at), PAGE);
		expect(intact(copy, PAGE));
		expect_eq(pwrite(file, "poked", 5, at), 5);
		expect(!memcmp(p + PAGE + 7, "poked", 5));
		at = (off_t)(uintptr_t)readable;
		expect_eq(result(pwrite(file, "poked", 5, at)), -EIO);
		expect_eq(p[0], FILLED);
		close(file);
		end_traced(pid);
		munmap(readable, lengths[l]);
		give_back(fd, p, &a);
	}
}

/*
 * Core dumps
 */

#define CORE	"/dev/shm/buddy-core"
#define RUN	64	/* words of one value that are content, and no accident */

/* Both values exist nowhere but in what they fill: @not_key is ~key. */
static void fill_words(uint64_t *p, size_t length, uint64_t not_key)
{
	for (size_t i = 0; i < length / 8; i++)
		p[i] = ~not_key;
}

/* Has the core file RUN words of ~@not_key one after the other? -1: no core. */
static int core_has(uint64_t not_key)
{
	int file = open(CORE, O_RDONLY), run = 0, found = 0;
	uint64_t words[512];
	ssize_t n;

	if (file < 0)
		return -1;
	while ((n = read(file, words, sizeof(words))) > 0) {
		for (ssize_t i = 0; i < n / 8; i++) {
			run = words[i] == ~not_key ? run + 1 : 0;
			found |= run == RUN;
		}
	}
	close(file);
	return found;
}

static void die_with_core(uint64_t not_mine, uint64_t not_blocks)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct buddy_alloc a;
	void *p;

	p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill_words(p, 16 * PAGE, not_mine);
	for (int l = 0; l < 2; l++) {
		p = take_filled(fd, lengths[l], &a);
		fill_words(p, lengths[l], not_blocks);
	}
	/* without a handle */
	p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill_words(p, MIB, not_blocks);
	/* all kinds of mappings, files' too */
	if (setrlimit(RLIMIT_CORE, &all) ||
	    write_file("/proc/self/coredump_filter", "0x7f"))
		_exit(1);
	abort();
}

TEST_F(device, a_core_dump_has_no_block_in_it)
{
	uint64_t seed = (uint64_t)(now() * 1e9) * 0x9e3779b97f4a7c15 | 1;
	char pattern[256];
	int status;
	pid_t pid;

	expect(read_file("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern)));
	expect_eq(write_file("/proc/sys/kernel/core_pattern", CORE), 0);
	write_file("/proc/sys/kernel/core_uses_pid", "0");
	unlink(CORE);
	pid = fork();
	if (!pid)
		die_with_core(seed, seed * 3);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	expect(WCOREDUMP(status));
	expect_eq(core_has(seed), 1);
	expect_eq(core_has(seed * 3), 0);
	unlink(CORE);
	write_file("/proc/sys/kernel/core_pattern", pattern);
	/* the handles are the parent's, too: fresh ones */
	close(fd);
	fd = device_open();
	expect(wait_free(fd, region, 5));
}

/*
 * The end of a process
 */

/* Faults, drops and maps again for ever, at offset 0 and in the block at @arg. */
static void *fault_for_ever(void *arg)
{
	char *p = arg;
	unsigned int n = 0;

	for (;;) {
		char *q = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED,
			       fd, 0);

		for (size_t i = 0; i < 4 * MIB; i += 8 * PAGE)
			p[i] = 1;
		if (q != MAP_FAILED) {
			q[n++ % 4 * MIB] = 1;
			munmap(q, 4 * MIB);
		}
		madvise(p, 4 * MIB, MADV_DONTNEED);
	}
	return NULL;
}

/* A process of four threads that fault, which ends itself, or is killed. */
static void fault_and_end(int way, unsigned int after_us)
{
	int status, ready[2];
	char c;
	pid_t pid;

	expect(!pipe(ready));
	pid = fork();
	if (!pid) {
		struct buddy_alloc a;
		pthread_t thread;
		char *p[3];

		fd = device_open();
		for (int i = 0; i < 3; i++)
			p[i] = take_filled(fd, 4 * MIB, &a);
		for (int i = 0; i < 3; i++)
			pthread_create(&thread, NULL, fault_for_ever, p[i]);
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		usleep(after_us);
		if (way == 0)
			_exit(0);
		if (way == 1)
			execl("/bin/true", "true", NULL);
		pause();
	}
	close(ready[1]);
	expect_eq(read(ready[0], &c, 1), 1);
	usleep(after_us);
	if (way == 2)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect_eq(status, way == 2 ? SIGKILL : 0);
	close(ready[0]);
	expect(wait_free(fd, region, 20));
}

TEST_F(device, exit_exec_sigkill_while_threads_fault)
{
	for (unsigned int i = 0; i < 4; i++)
		for (int way = 0; way < 3; way++)
			fault_and_end(way, 5000 + 7000 * i);
}

/* exec drops mappings and, closed on exec, handles; the process lives on. */
TEST_F(device, exec_drops_mappings_and_handles)
{
	int hold[2], status;
	pid_t pid;

	expect(!pipe(hold));
	pid = fork();
	if (!pid) {
		struct buddy_alloc a;

		fd = device_open();
		take_filled(fd, 4 * MIB, &a);
		take_filled(fd, PAGE, &a);
		dup2(hold[0], 0);
		close(hold[0]);
		close(hold[1]);
		execlp("cat", "cat", NULL);
		_exit(1);
	}
	for (int i = 0; get_stats(fd).out_blocks != 2 && i < 300; i++)
		usleep(1000);
	expect(wait_free(fd, region, 20));
	expect_eq(waitpid(pid, &status, WNOHANG), 0);
	close(hold[0]);
	close(hold[1]);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

/*
 * The machine below
 */

/* Some blocks that something is then done to. */
struct witness {
	struct buddy_alloc a[3];
	char *p[3];
	uint64_t place[3];
};

static void witness_call(struct witness *w)
{
	static const uint64_t mixed[] = { 3 * PAGE, 8 * MIB, 2 * MIB + 5 * PAGE };

	for (int i = 0; i < 3; i++) {
		w->p[i] = take_filled(fd, mixed[i], &w->a[i]);
		w->place[i] = frame(w->p[i] + PAGE);
	}
}

static void witness_hear(struct witness *w)
{
	for (int i = 0; i < 3; i++) {
		expect(intact(w->p[i], w->a[i].out_length));
		expect_eq(frame(w->p[i] + PAGE), w->place[i]);
		give_back(fd, w->p[i], &w->a[i]);
	}
	expect(wait_free(fd, region, 5));
}

TEST_F(device, memory_is_not_set_offline)
{
	char path[128], text[64];
	struct witness w;
	int err, idle;

	if (!read_file("/sys/devices/system/memory/block_size_bytes", text,
		       sizeof(text)))
		skip("this kernel has no memory blocks");
	witness_call(&w);
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 (unsigned long long)w.place[0] * PAGE / strtoull(text, NULL, 16));
	err = write_file(path, "offline");
	expect(read_file(path, text, sizeof(text)));
	expect(!strcmp(text, "online\n"));
	witness_hear(&w);
	idle = write_file(path, "offline");
	expect_eq(idle, err);
	expect(read_file(path, text, sizeof(text)));
	expect(!strcmp(text, "online\n"));
	/* refused before anybody looks at the pages */
	if (err == -EINVAL)
		skip("the memory block of the region has holes; give the VM --mem 1088M");
	expect_eq(err, -EBUSY);
}

TEST_F(device, compaction)
{
	struct witness w;

	witness_call(&w);
	expect_eq(write_file("/proc/sys/vm/drop_caches", "3"), 0);
	expect_eq(write_file("/proc/sys/vm/compact_memory", "1"), 0);
	witness_hear(&w);
}

/* A debugging aid that splits what looks like a huge page, of all or of one. */
TEST_F(device, split_huge_pages)
{
	const char *path = "/sys/kernel/debug/split_huge_pages";
	struct witness w;
	char text[128];

	if (access(path, W_OK))
		skip("no debugfs, or no huge pages");
	witness_call(&w);
	snprintf(text, sizeof(text), "%d,%p,%p", getpid(), (void *)w.p[1],
		 (void *)(w.p[1] + 8 * MIB));
	expect_eq(write_file(path, text), 0);
	expect_eq(smaps(w.p[1], "FilePmdMapped"), is_huge(fd) ? 8192 : 0);
	expect_eq(write_file(path, "1"), 0);
	witness_hear(&w);
}

/* Which pages were written since: the kernel's bit, on PTEs and PMDs. */
TEST_F(device, clear_refs_soft_dirty)
{
	const uint64_t dirty = 1ull << 55;

	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);

		expect(pagemap(p) & dirty);
		for (char what = '1'; what <= '5'; what++) {
			int file = open("/proc/self/clear_refs", O_WRONLY);

			expect_eq(write(file, &what, 1), 1);
			close(file);
			expect_eq(!(pagemap(p) & dirty), what == '4');
			p[0] = FILLED;
			expect(pagemap(p) & dirty);
		}
		expect(intact(p, lengths[l]));
		give_back(fd, p, &a);
	}
}

TEST_F(device, move_pages_mbind)
{
	const unsigned long node_0 = 1;

	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);
		void *pages[] = { p, p + lengths[l] - PAGE };
		int to[] = { 0, 0 }, status[] = { -1, -1 };
		uint64_t place = frame(p);

		/* MPOL_MF_MOVE; MPOL_BIND, MPOL_MF_STRICT | MPOL_MF_MOVE */
		expect_eq(syscall(SYS_move_pages, 0, 2ul, pages, to, status, 2), 0);
		expect_eq(status[0], 0);
		expect_eq(status[1], 0);
		expect_eq(result(syscall(SYS_mbind, p, lengths[l], 2, &node_0, 8ul,
					 3)), 0);
		expect(intact(p, lengths[l]));
		expect_eq(frame(p), place);
		give_back(fd, p, &a);
	}
}

TEST_HARNESS_MAIN
