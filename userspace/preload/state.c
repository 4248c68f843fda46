// SPDX-License-Identifier: MIT
/*
 * state.c - the pool behind malloc(), opened when it is first needed; the
 * environment; the counters and the line at exit.
 *
 * A pool that cannot be had is no error: the program runs on the allocator that it has
 * without this library.
 *
 * once protects the opening. A thread that opens, allocates or frees in the pool has
 * preload_inside set, so its malloc() does not come back here.
 *
 * A program with the rights of another user (set-user-ID) takes no word from the
 * environment: hence secure_getenv().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buddy_size.h"
#include "pool.h"
#include "preload.h"

#define THRESHOLD_DEFAULT	(1ull << 20)
#define THRESHOLD_MIN		4096ull
/* So that most large buffers share blocks of the device, and need no system call. */
#define CHUNK_MOST		(32ull << 20)
#define CHUNK_LEAST		(2ull << 20)
#define CHUNKS_OF_POOL	8
#define REPORT_FD		400

size_t preload_threshold = SIZE_MAX;
struct buddy_pool *preload_pool;
_Thread_local bool preload_inside;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t counts[COUNT_END];
static char why_not[256];	/* there is no pool */
static const char *overridden;	/* a function that is not ours: the pool is closed */
static const char *backend_name = "none";
static int report_fd = -1;	/* stderr, which many programs close before the end */
static struct stat report_file;	/* what it was then: the number may be another's */

void preload_count(enum preload_count what, uint64_t n)
{
	__atomic_fetch_add(&counts[what], n, __ATOMIC_RELAXED);
}

/*
 * @otherwise if @text, which may be NULL, is no size. @base is what a percentage is
 * of, or 0.
 */
static uint64_t size_of(const char *text, uint64_t base, uint64_t otherwise)
{
	uint64_t bytes;

	return text && !buddy_size_parse(text, base, &bytes) ? bytes : otherwise;
}

static uint64_t env_size(const char *name, uint64_t base)
{
	return size_of(secure_getenv(name), base, 0);
}

/* So large that most buffers fit, and so small that the pool has some of them. */
static uint64_t chunk_for(uint64_t region, uint64_t limit)
{
	uint64_t chunk = env_size("BUDDY_PRELOAD_CHUNK", 0);

	if (!limit || limit > region)
		limit = region;
	if (chunk >= CHUNK_MIN && chunk <= CHUNK_MAX && !(chunk & (chunk - 1)) &&
	    chunk <= limit)
		return chunk;
	for (chunk = CHUNK_MOST; chunk > limit / CHUNKS_OF_POOL;)
		chunk /= 2;
	return chunk < CHUNK_LEAST ? 0 : chunk;
}

static unsigned long long kib(uint64_t bytes)
{
	return ((bytes - 1) >> 10) + 1;
}

static void explain_limit(uint64_t limit, uint64_t bytes, uint64_t addresses)
{
	uint64_t least = ARENA_ALIGN + ARENA_TIMES * CHUNK_MIN;
	char also[64] = "";

	if (limit / 2 >= least)
		snprintf(also, sizeof(also), ", or BUDDY_PRELOAD_LIMIT to at most %lluK",
			 (unsigned long long)(limit / 2 - ARENA_ALIGN) / ARENA_TIMES >> 10);
	snprintf(why_not, sizeof(why_not),
		 "a pool of %llu KiB needs %llu KiB of addresses, and may take half of "
		 "RLIMIT_AS, which is %llu KiB: set ulimit -v to at least %llu%s",
		 kib(bytes), kib(addresses), (unsigned long long)limit >> 10,
		 kib(2 * addresses), also);
}

/*
 * The addresses of a pool count for the limit that a program may have; the program must
 * keep half of them for itself. Sets why_not if it could not.
 */
static bool has_addresses(uint64_t region, uint64_t limit)
{
	uint64_t bytes = limit && limit < region ? limit : region;
	uint64_t addresses = ARENA_TIMES * bytes + ARENA_ALIGN;
	struct rlimit has;

	if (getrlimit(RLIMIT_AS, &has) || has.rlim_cur == RLIM_INFINITY ||
	    addresses <= has.rlim_cur / 2)
		return true;
	explain_limit(has.rlim_cur, bytes, addresses);
	return false;
}

/* Closes @dev where it fails. */
static int create_pool(struct buddy_dev *dev, struct buddy_pool **pool)
{
	struct buddy_pool_config config = {
		.size = sizeof(config),
		.flags = BUDDY_POOL_FORK_COPY,
	};
	struct buddy_info info;
	int err = buddy_dev_info(dev, &info);

	if (!err)
		config.limit = env_size("BUDDY_PRELOAD_LIMIT", info.out_region);
	if (!err && !has_addresses(info.out_region, config.limit))
		err = -ENOMEM;
	if (!err) {
		config.chunk = chunk_for(info.out_region, config.limit);
		err = buddy_pool_create(dev, &config, pool);
	}
	if (err)
		buddy_dev_close(dev);
	return err;
}

static int open_pool(void)
{
	const char *name = secure_getenv("BUDDY_BACKEND");
	struct buddy_pool *pool;
	struct buddy_dev *dev;
	int err;

	/* a memfd for want of a device would be no better than other malloc()s */
	err = buddy_dev_open(&dev, name && *name ? BUDDY_BACKEND_DEFAULT :
			     BUDDY_BACKEND_DEVICE, NULL, 0);
	if (err)
		return err;
	err = create_pool(dev, &pool);
	if (err)
		return err;
	backend_name = buddy_dev_backend(dev);
	__atomic_store_n(&preload_pool, pool, __ATOMIC_RELEASE);
	return 0;
}

static void open_once(void)
{
	int cancel = buddy_cancel_off();

	if (open_pool() && !*why_not)
		snprintf(why_not, sizeof(why_not), "%s", buddy_error());
	buddy_cancel_restore(cancel);
}

struct buddy_pool *preload_open(void)
{
	pthread_once(&once, open_once);
	return preload_pool;
}

/* start() sees to it. */
bool buddy_registry_starts(void)
{
	return false;
}

/* Not fstat(), which ThreadSanitizer replaces; see start(). */
static bool report_stat(struct stat *file)
{
	return report_fd >= 0 && !fstatat(report_fd, "", file, AT_EMPTY_PATH);
}

/*
 * From here on sizes are compared with what the user said. Linked with -z initfirst,
 * this comes before the start of every other library, and of libc, so getenv() has no
 * environment yet: libc gets here what it will set itself. So the fork handler is the
 * first that is registered, and its locks are taken after those of the program have run,
 * which may allocate, and wait for threads that do.
 *
 * A program that has an allocator of its own may have functions in the place of libc's,
 * too, that work only after its start: clang's ThreadSanitizer has pthread_once(),
 * strcmp() and fstat(). There nothing is called here that such a program may have.
 */
__attribute__((constructor))
static void start(int argc, char **argv, char **environment)
{
	const char *wanted;
	uint64_t bytes;

	(void)argc;
	(void)argv;
	environ = environment;
	wanted = secure_getenv("BUDDY_PRELOAD_STATS");
	bytes = size_of(secure_getenv("BUDDY_PRELOAD_THRESHOLD"), 0, THRESHOLD_DEFAULT);
	preload_resolve();
	overridden = preload_overridden();
	if (!overridden) {
		buddy_registry_init();
		preload_threshold = bytes < THRESHOLD_MIN ? THRESHOLD_MIN : bytes;
	}
	if (wanted && *wanted && !(wanted[0] == '0' && !wanted[1]))
		report_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, REPORT_FD);
	if (!report_stat(&report_file))
		report_fd = -1;
}

static bool can_report(void)
{
	struct stat now;

	return report_stat(&now) &&
	       now.st_dev == report_file.st_dev && now.st_ino == report_file.st_ino;
}

__attribute__((destructor)) static void report(void)
{
	char line[512];
	int n;

	if (!can_report())
		return;
	n = snprintf(line, sizeof(line),
		     "buddy_preload: pid %d, backend %s, %llu buffers of %llu bytes, "
		     "%llu freed, %llu from elsewhere (full %llu, no pool %llu%s%s)%s%s%s\n",
		     (int)getpid(), backend_name,
		     (unsigned long long)counts[COUNT_SERVED],
		     (unsigned long long)counts[COUNT_SERVED_BYTES],
		     (unsigned long long)counts[COUNT_FREED],
		     (unsigned long long)(counts[COUNT_FULL] + counts[COUNT_CLOSED]),
		     (unsigned long long)counts[COUNT_FULL],
		     (unsigned long long)counts[COUNT_CLOSED],
		     *why_not ? ": " : "", why_not,
		     overridden ? "; another " : "", overridden ? overridden : "",
		     overridden ? "() comes before this one" : "");
	if (n > 0)
		(void)!write(report_fd, line, n < (int)sizeof(line) ? (size_t)n :
			     sizeof(line) - 1);
}
