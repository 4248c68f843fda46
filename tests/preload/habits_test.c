// SPDX-License-Identifier: MIT
/*
 * habits_test.c - what programs do that a malloc() must bear, with
 * libbuddymem_preload.so before libc.
 *
 * Usage: BUDDY_BACKEND=... LD_PRELOAD=... habits_test [CASE]
 *
 * Each case is a process of its own, which has some seconds: most of these once hung,
 * or died.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

#define MIB	(1u << 20)
#define SECONDS	60

/* A function that returns. */
#if defined(__x86_64__)
static const uint8_t code[] = { 0xc3 };
#elif defined(__aarch64__)
static const uint8_t code[] = { 0xc0, 0x03, 0x5f, 0xd6 };
#else
#error "the code of a function that only returns"
#endif

/* Keeps the compiler from what it knows of malloc(). */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

/* A thread that the start of a plugin waits for. */
static void plugin(void)
{
	char path[4096], *slash;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, "habits_plug.so");
	free(hidden(malloc(2 * MIB)));
	expect(dlopen(path, RTLD_NOW));
}

/* fork(), and what the child does: its status is 0. */
static void expect_child(bool (*child)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(child() ? 0 : 1);
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
}

static bool can_allocate(void)
{
	void *p = hidden(malloc(3 * MIB));

	free(p);
	return p;
}

extern void (*lib_at_fork)(void);	/* habits_lib.c */
static volatile bool stop;
static pthread_t worker;

static void allocate(void)
{
	free(hidden(malloc(2 * MIB)));
}

static void *work(void *unused)
{
	(void)unused;
	while (!stop)
		allocate();
	return NULL;
}

static void end_worker(void)
{
	stop = true;
	pthread_join(worker, NULL);
}

/* Fork handlers that allocate, and that wait for who allocates. */
static void fork_handlers(void)
{
	allocate();
	lib_at_fork = allocate;
	expect_child(can_allocate);
	expect(!pthread_create(&worker, NULL, work, NULL));
	lib_at_fork = end_worker;
	expect_child(can_allocate);
	lib_at_fork = NULL;
}

static pthread_barrier_t meet;

/* Is told to end itself before it calls what it is given, and after that may. */
static void *cancelled(void *call)
{
	pthread_barrier_wait(&meet);
	pthread_barrier_wait(&meet);
	((void (*)(void))call)();
	pthread_testcancel();
	return NULL;
}

static bool returned;

static void call_free(void)
{
	void *p = hidden(malloc(20 * MIB));

	free(p);
	returned = true;
}

static void call_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	returned = pid > 0;
}

/* free() and fork() are no cancellation points: no lock stays behind. */
static void cancellation(void)
{
	static void (*const calls[])(void) = { call_free, call_fork };
	void *result;
	pthread_t t;

	pthread_barrier_init(&meet, NULL, 2);
	allocate();
	for (int i = 0; i < 2; i++) {
		returned = false;
		expect(!pthread_create(&t, NULL, cancelled, (void *)calls[i]));
		pthread_barrier_wait(&meet);
		pthread_cancel(t);
		pthread_barrier_wait(&meet);
		pthread_join(t, &result);
		expect(returned && result == PTHREAD_CANCELED);
		allocate();
	}
	while (wait(NULL) > 0)
		;
}

static unsigned char *data;

static bool data_as_forked(void)
{
	for (int i = 0; i < 20 * (int)MIB; i += 4096)
		if (data[i] != 1)
			return false;
	return true;
}

/* The child's copy is of the time of fork(), without a descriptor to wait by. */
static void no_descriptors(void)
{
	struct rlimit limit = { 500, 500 };
	int status;

	data = hidden(malloc(20 * MIB));
	memset(data, 1, 20 * MIB);
	setrlimit(RLIMIT_NOFILE, &limit);
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(data_as_forked() ? 0 : 1);
		memset(data, 2, 20 * MIB);
		waitpid(pid, &status, 0);
		expect_eq(status, 0);
		memset(data, 1, 20 * MIB);
	}
}

static int siblings;

static void *breed(void *pids)
{
	while (!stop && siblings < 500) {
		pid_t pid = _Fork();

		if (!pid)
			pause();
		((pid_t *)pids)[siblings++] = pid;
	}
	return NULL;
}

/* Children that another thread makes, of which the library knows nothing. */
static void strangers(void)
{
	static pid_t pids[500];
	pthread_t t;

	data = hidden(malloc(2 * MIB));
	expect(!pthread_create(&t, NULL, breed, pids));
	for (int i = 0; i < 100; i++)
		expect_child(can_allocate);
	stop = true;
	pthread_join(t, NULL);
	while (siblings)
		kill(pids[--siblings], SIGKILL);
}

/* Children whose end nobody sees. */
static void unseen_children(void)
{
	data = hidden(malloc(2 * MIB));
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 10; i++)
		if (!fork())
			_exit(0);
	signal(SIGCHLD, SIG_DFL);
	expect_child(can_allocate);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A child that dies while it copies, and a fork() that fails: nobody waits for them. */
static void no_child(void)
{
	struct rlimit limit = { 0, RLIM_INFINITY };
	double start = seconds();
	int status;
	pid_t pid;

	data = hidden(malloc(20 * MIB));
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = 16 * MIB;
	setrlimit(RLIMIT_AS, &limit);
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_AS, &limit);
	getrlimit(RLIMIT_NPROC, &limit);
	limit.rlim_cur = 0;
	setrlimit(RLIMIT_NPROC, &limit);
	/* to root this limit is none */
	expect(getuid() || !setuid(65534));
	expect(fork() < 0);
	expect(seconds() - start < 5);
}

static size_t page;
static bool may_execute;	/* no memory of the device */

static bool readable(const void *p)
{
	int fds[2];
	bool yes = !pipe(fds) && write(fds[1], p, 1) == 1;

	close(fds[0]);
	close(fds[1]);
	return yes;
}

/* Of @data: a page that may not be touched, and one of code. */
static bool access_as_forked(void)
{
	void *no = data + page;

	if (data[0] != 1 || data[3 * page - 1] != 1 || readable(no))
		return false;
	if (may_execute)
		((void (*)(void))(data + 3 * page))();
	if (mprotect(no, page, PROT_READ) || data[page] != 1)
		return false;
	free(data);
	return can_allocate();
}

static bool is_hole(void)
{
	free(hidden(malloc(2 * MIB)));
	/* and nothing else is put there */
	return data[page - 1] == 1 && data[3 * page] == code[0] &&
	       !readable(data + page) && !readable(data + 3 * page - 1) &&
	       mmap(data + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED;
}

/* Pages of a buffer with another access than malloc() gives. */
static void page_access(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	for (int i = 0; i < 2; i++) {
		/* in a chunk, and by itself */
		data = hidden(aligned_alloc(page, i ? 40 * MIB : 2 * MIB));
		memset(data, 1, 2 * MIB);
		expect(!mprotect(data + page, page, PROT_NONE));
		memcpy(data + 3 * page, code, sizeof(code));
		__builtin___clear_cache((char *)data + 3 * page, (char *)data + 4 * page);
		may_execute = !mprotect(data + 3 * page, page, PROT_READ | PROT_EXEC);
		expect(may_execute || errno == EACCES);
		expect_child(access_as_forked);
		expect(!mprotect(data, 4 * page, PROT_READ | PROT_WRITE));
		expect(!madvise(data + page, 2 * page, MADV_DONTFORK));
		expect_child(is_hole);
		expect(data[page] == 1);
		/* some kernels (7.3) keep that for good in a mapping of a device */
		expect(!madvise(data + page, 2 * page, MADV_DOFORK) || errno == EINVAL);
		free(data);
	}
}

/* The number of the library's descriptor, found by the name of its file. */
static int library_fd(void)
{
	char name[64], target[64];

	for (int fd = 3; fd < 1024; fd++) {
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = 0;
		if (strstr(target, "buddy"))
			return fd;
	}
	return -1;
}

/* A daemon closes what it does not know, and gets the number for a file of its own. */
static void reused_descriptor(void)
{
	char name[] = "/tmp/habits.XXXXXX", byte;
	off_t at = 1 << 30;	/* where blocks start in the memfd */
	int fd, file;

	data = hidden(malloc(20 * MIB));
	memset(data, 1, 20 * MIB);
	fd = library_fd();
	expect(fd > 0);
	closefrom(3);
	file = mkstemp(name);
	unlink(name);
	expect_eq(dup2(file, fd), fd);
	for (int i = 0; i < 64; i++)
		expect_eq(pwrite(file, "x", 1, at + i * (off_t)MIB), 1);
	free(data);
	free(hidden(malloc(30 * MIB)));
	for (int i = 0; i < 64; i++)
		expect(pread(file, &byte, 1, at + i * (off_t)MIB) == 1 && byte == 'x');
	expect(fcntl(fd, F_GETFD) >= 0);
}

/* What addresses the program may have, it has for itself. */
static void few_addresses(void)
{
	struct rlimit limit = { 2000ul * MIB, 2000ul * MIB };

	setrlimit(RLIMIT_AS, &limit);
	data = hidden(malloc(2 * MIB));
	memset(data, 1, 2 * MIB);
	expect_eq(library_fd(), -1);
	free(data);
}

static volatile int handled, bad;

/* Once, after some more of this process' own time. */
static void set_timer(void)
{
	const struct itimerval once = { .it_value = { 0, 2000 } };

	setitimer(ITIMER_PROF, &once, NULL);
}

static void fork_in_handler(int signal)
{
	int status = -1;
	pid_t pid = fork();

	(void)signal;
	if (!pid) {
		bool ok = data[0] == 1 && data[2 * MIB - 1] == 1;
		/* the parent sees nothing of this */
		memset(data, 2, 2 * MIB);
		free(data);
		_exit(ok ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	bad += status != 0 || data[MIB] != 1;
	if (++handled < 50)
		set_timer();
}

/* A signal that comes while its thread is in malloc(), and whose handler forks. */
static void signals(void)
{
	data = hidden(malloc(2 * MIB));
	memset(data, 1, 2 * MIB);
	signal(SIGPROF, fork_in_handler);
	set_timer();
	while (handled < 50)
		free(hidden(malloc(10 * MIB)));
	expect_eq(bad, 0);
	free(data);
	expect(can_allocate());
}

/* From now on an mmap() of less than 512 KiB is the end: books are, buffers are not. */
static void forbid_books(void)
{
	/* low words: little endian */
	static struct sock_filter code_[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, MIB / 2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	const struct sock_fprog filter = { TAP_COUNT(code_), code_ };

	expect(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	expect(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

/* A request that the pool cannot serve costs no system call of its own. */
static void hopeless(void)
{
	static const size_t sizes[] = { (size_t)1 << 36, (size_t)1 << 50, (size_t)1 << 62 };
	static void *held[64];
	void *small;

	/* chunks take all that the pool may have */
	for (size_t i = 0; i < TAP_COUNT(held); i++)
		held[i] = hidden(malloc(2 * MIB));
	small = hidden(malloc(100));
	expect(library_fd() > 0);
	forbid_books();
	for (size_t i = 0; i < TAP_COUNT(sizes); i++) {
		expect(!hidden(malloc(sizes[i])));
		expect(!hidden(calloc(1, sizes[i])));
		expect(!hidden(memalign(4096, sizes[i])));
		expect(!hidden(realloc(hidden(small), sizes[i])));
		expect(!hidden(realloc(hidden(held[0]), sizes[i])));
	}
	free(hidden(malloc(2 * MIB)));
	free(hidden(malloc(5 * MIB)));
	small = hidden(realloc(small, 3 * MIB));
	expect(small);
}

static const struct tap_case cases[] = {
	{ "a plugin's thread, in dlopen()", plugin },
	{ "fork handlers of a library", fork_handlers },
	{ "cancelled threads", cancellation },
	{ "pages with another access", page_access },
	{ "no descriptors left at fork()", no_descriptors },
	{ "a descriptor's number, used again", reused_descriptor },
	{ "fork() in a signal handler", signals },
	{ "children of another thread", strangers },
	{ "children that are not reaped", unseen_children },
	{ "requests that cannot be served", hopeless },
	{ "a limit of addresses", few_addresses },
	{ "no child, or a dead one", no_child },
};

/* As a program of its own: exit status 0 for success. */
static int run_one(const char *number)
{
	alarm(SECONDS);
	cases[atoi(number)].run();
	return tap_failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc > 1)
		return run_one(argv[1]);
	printf("1..%d\n", (int)TAP_COUNT(cases));
	for (int i = 0; i < (int)TAP_COUNT(cases); i++) {
		char number[8];
		int status = -1;
		pid_t pid;

		snprintf(number, sizeof(number), "%d", i);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			execl("/proc/self/exe", argv[0], number, NULL);
			_exit(127);
		}
		waitpid(pid, &status, 0);
		if (status)
			printf("# status %#x\n", (unsigned int)status);
		printf("%s %d - %s\n", status ? "not ok" : "ok", i + 1, cases[i].name);
		failed += status != 0;
	}
	return failed ? 1 : 0;
}
