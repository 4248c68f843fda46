// SPDX-License-Identifier: MIT
/*
 * behaviour_test.c - what the calls of memory management do to a mapped block:
 * the rows of docs/behaviour.md about one process and its mappings. Whatever is
 * called, the contents and the physical place of a block stay. Needs root and the
 * module.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <linux/userfaultfd.h>

#include "ktest.h"

/* Newer than the C library of Debian 12 */
#define ADVICE_DONTNEED_LOCKED	24
#define ADVICE_COLLAPSE		25
#define ADVICE_SOFT_OFFLINE	101
#define ADVICE_GUARD_INSTALL	102
#define ADVICE_GUARD_REMOVE	103
#define UFFD_WP_ASYNC		(1ull << 15)

#define RW	(PROT_READ | PROT_WRITE)

/* A small block, and one that is mapped by huge pages where there are any. */
static const uint64_t lengths[] = { 3 * PAGE, 4 * MIB };

/* What only the version tells; on others it is not checked. */
static const struct {
	const char *series;
	int dofork;	/* MADV_DOFORK of a mapping that cannot grow */
} kernels[] = {
	{ "6.1.", 0 }, { "6.12.", 0 }, { "7.3.", -EINVAL },
};

/* Of MADV_DOFORK here, or @unknown. */
static int dofork(int unknown)
{
	struct utsname name;

	uname(&name);
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (!strncmp(name.release, kernels[i].series,
			     strlen(kernels[i].series)))
			return kernels[i].dofork;
	return unknown;
}

static bool has_flag(const void *p, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[512];
	bool here = false, found = false;

	while (fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start == (uintptr_t)p;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag);
	}
	fclose(file);
	return found;
}

/* A figure in kB of /proc/self/status. */
static long status_kb(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long value = -1;

	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld", &value);
	fclose(file);
	return value;
}

static const struct {
	int advice, expected;
	bool drops;	/* the mapping, never the contents */
} advices[] = {
	{ MADV_NORMAL, 0, false },
	{ MADV_RANDOM, 0, false },
	{ MADV_SEQUENTIAL, 0, false },
	{ MADV_WILLNEED, 0, false },
	{ MADV_DONTNEED, 0, true },
	{ ADVICE_DONTNEED_LOCKED, 0, true },
	{ MADV_FREE, -EINVAL, false },
	{ MADV_REMOVE, -ENODEV, false },
	{ MADV_DONTFORK, 0, false },
	{ MADV_MERGEABLE, 0, false },
	{ MADV_UNMERGEABLE, 0, false },
	{ MADV_HUGEPAGE, 0, false },
	{ MADV_NOHUGEPAGE, 0, false },
	{ ADVICE_COLLAPSE, -EINVAL, false },
	{ MADV_DONTDUMP, 0, false },
	{ MADV_DODUMP, -EINVAL, false },
	{ MADV_WIPEONFORK, -EINVAL, false },
	{ MADV_KEEPONFORK, 0, false },
	{ MADV_COLD, 0, false },
	{ MADV_PAGEOUT, 0, false },
	{ MADV_POPULATE_READ, 0, false },
	{ MADV_POPULATE_WRITE, 0, false },
	{ ADVICE_GUARD_INSTALL, -EINVAL, false },
	{ ADVICE_GUARD_REMOVE, -EINVAL, false },
	{ ADVICE_SOFT_OFFLINE, -EIO, false },
};

/* A kernel without huge pages (PREEMPT_RT) does not know what is said of them. */
static int advice_expected(int i)
{
	bool huge = advices[i].advice == MADV_HUGEPAGE ||
		    advices[i].advice == MADV_NOHUGEPAGE;

	if (huge && access("/sys/kernel/mm/transparent_hugepage", F_OK))
		return -EINVAL;
	return advices[i].expected;
}

static void advise(int i, uint64_t length, size_t at, size_t part)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, length, &a);
	uint64_t place = frame(p + at);
	int err = result(madvise(p + at, part, advices[i].advice));

	if (err != advice_expected(i))
		printf("# advice %d on %zu of %llu: %d\n", advices[i].advice, part,
		       (unsigned long long)length, err);
	expect_eq(err, advice_expected(i));
	if (part == length)
		expect_eq(smaps(p, "Rss"),
			  advices[i].drops ? 0 : (long)length / 1024);
	expect(intact(p, length));
	expect_eq(frame(p + at), place);
	give_back(fd, p, &a);
}

TEST_F(device, madvise_whole)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		for (int l = 0; l < 2; l++)
			advise((int)i, lengths[l], 0, lengths[l]);
}

TEST_F(device, madvise_page)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		advise((int)i, 3 * PAGE, PAGE, PAGE);
		advise((int)i, 4 * MIB, 3 * MIB, PAGE);
	}
}

/* Does a child have the page at @p? */
static bool child_has(char *p)
{
	unsigned char present;
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(!mincore(p, PAGE, &present) && *p == FILLED ? 0 : 1);
	waitpid(pid, &status, 0);
	return !status;
}

TEST_F(device, madvise_dontfork_dofork)
{
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);
		int err;

		expect(child_has(p));
		expect(!madvise(p, lengths[l], MADV_DONTFORK));
		expect(!child_has(p));
		err = result(madvise(p, lengths[l], MADV_DOFORK));
		expect_eq(err, dofork(err));
		expect_eq(child_has(p), !err);
		expect(intact(p, lengths[l]));
		give_back(fd, p, &a);
	}
}

static sigjmp_buf out_of_fault;

static void on_fault(int number)
{
	siglongjmp(out_of_fault, number);
}

/* The signal that writing, or reading, one byte gives; 0. */
static int fault_of(volatile char *p, bool writing)
{
	int number = sigsetjmp(out_of_fault, 1);
	volatile char sink;

	if (number)
		return number;
	if (writing)
		*p = FILLED;
	else
		sink = *p;
	(void)sink;
	return 0;
}

TEST_F(device, mprotect)
{
	struct sigaction old, act = { .sa_handler = on_fault };

	sigaction(SIGSEGV, &act, &old);
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a), *q = p + lengths[l] - PAGE;

		expect(!mprotect(p, lengths[l], PROT_READ));
		expect_eq(fault_of(p, false), 0);
		expect_eq(fault_of(p, true), SIGSEGV);
		expect(!mprotect(q, PAGE, PROT_NONE));
		expect_eq(fault_of(q, false), SIGSEGV);
		expect_eq(fault_of(q - 1, false), 0);
		expect(!mprotect(p, lengths[l], RW));
		expect_eq(fault_of(p, true), 0);
		expect_eq(fault_of(q, true), 0);
		expect_eq(result(mprotect(p, PAGE, RW | PROT_EXEC)), -EACCES);
		expect_eq(result(mprotect(p, PAGE, PROT_EXEC)), -EACCES);
		expect(intact(p, lengths[l]));
		give_back(fd, p, &a);
	}
	sigaction(SIGSEGV, &old, NULL);
}

static int try_remap(void *p, size_t from, size_t to, int flags)
{
	return result((long)mremap(p, from, to, flags));
}

TEST_F(device, mremap)
{
	for (int l = 0; l < 2; l++) {
		uint64_t length = lengths[l], place;
		struct buddy_alloc a;
		char *p = take_filled(fd, length, &a), *q;

		place = frame(p);
		expect_eq(try_remap(p, length, length + PAGE, MREMAP_MAYMOVE), -EFAULT);
		expect_eq(try_remap(p, 0, length, MREMAP_MAYMOVE), -EFAULT);
		expect_eq(try_remap(p, length, length,
				    MREMAP_MAYMOVE | MREMAP_DONTUNMAP), -EINVAL);
		/* a page beyond a multiple of 2 MiB, and one page of it alone */
		q = mremap(p, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
			   p + 64 * MIB + PAGE);
		expect(q == p + 64 * MIB + PAGE);
		expect(intact(q, length));
		expect_eq(frame(q), place);
		p = mremap(q + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p);
		expect(p != MAP_FAILED);
		expect_eq(p[PAGE - 1], FILLED);
		expect_eq(frame(p), place + 1);
		munmap(p, PAGE);
		munmap(q, length);
		expect_eq(free_block(fd, a.out_handle), 0);
	}
}

TEST_F(device, mlock_mlockall)
{
	for (int l = 0; l < 2; l++) {
		uint64_t length = lengths[l];
		struct buddy_alloc a;
		long other = status_kb("VmLck");
		char *p = take_filled(fd, length, &a);

		expect(!madvise(p, length, MADV_DONTNEED));
		expect(!mlock2(p, length, MLOCK_ONFAULT));
		expect(!mlock(p, length));
		expect_eq(smaps(p, "Rss"), length / 1024);
		expect_eq(smaps(p, "Locked"), 0);
		expect_eq(status_kb("VmLck"), other);
		expect(!madvise(p, length, MADV_DONTNEED));
		expect(!munlock(p, length));
		give_back(fd, p, &a);

		expect_eq(alloc_block(fd, length, &a), 0);
		expect(!mlockall(MCL_CURRENT | MCL_FUTURE));
		p = map_block(fd, &a);
		expect_eq(smaps(p, "Rss"), length / 1024);
		expect_eq(smaps(p, "Locked"), 0);
		expect(!munlockall());
		give_back(fd, p, &a);
	}
}

/* What a user's calls give who may lock 1 MiB, and then nothing, bit by bit. */
static int lock_as_user(const struct buddy_alloc *a, char *p)
{
	struct rlimit limit = { MIB, MIB };
	size_t length = a->out_length;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setgroups(0, NULL) || setgid(65534) ||
	    setuid(65534))
		return 1;
	if (result(mlock(p, length)) != -ENOMEM || mlock(p, MIB / 2))
		return 2;
	/* what is locked of a block is not counted, so the limit is for each call */
	if (mlock(p + MIB, MIB) || mlock(p + 2 * MIB, MIB))
		return 3;
	if (mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_LOCKED, fd,
		 (off_t)a->out_offset) != MAP_FAILED || errno != EAGAIN)
		return 4;
	if (mlockall(MCL_FUTURE) || map_block(fd, a) != MAP_FAILED || errno != EAGAIN)
		return 5;
	munlockall();
	limit = (struct rlimit){ 0, 0 };
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || result(mlock(p, PAGE)) != -EPERM)
		return 6;
	return result(mlockall(MCL_FUTURE)) == -EPERM ? 0 : 7;
}

TEST_F(device, mlock_by_a_user)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 4 * MIB, &a);
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(lock_as_user(&a, p));
	waitpid(pid, &status, 0);
	expect_eq(status, 0);
	give_back(fd, p, &a);
}

static int count_present(void *p, size_t length)
{
	unsigned char present[4 * MIB / PAGE];
	int count = 0;

	expect(!mincore(p, length, present));
	for (size_t i = 0; i < length / PAGE; i++)
		count += present[i] & 1;
	return count;
}

TEST_F(device, mincore)
{
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);

		expect_eq(count_present(p, lengths[l]), lengths[l] / PAGE);
		expect(!madvise(p, lengths[l], MADV_DONTNEED));
		expect_eq(count_present(p, lengths[l]), 0);
		p[0] = FILLED;
		expect_eq(count_present(p, lengths[l]), l ? 512 : 3);
		give_back(fd, p, &a);
	}
}

/* There is nothing to write back: nothing to do. */
TEST_F(device, msync_fsync)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 4 * MIB, &a);

	expect_eq(result(msync(p, 4 * MIB, MS_SYNC)), 0);
	expect_eq(result(fsync(fd)), 0);
	expect_eq(result(msync(p, 4 * MIB, MS_ASYNC)), 0);
	expect_eq(result(msync(p, 4 * MIB, MS_INVALIDATE)), 0);
	expect_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	expect(intact(p, 4 * MIB));
	give_back(fd, p, &a);
}

static int try_map(void *at, size_t length, int prot, int flags, uint64_t offset)
{
	void *p = mmap(at, length, prot, flags, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, length);
	return 0;
}

TEST_F(device, mmap_flags)
{
	char *odd = (char *)0x200000000123;
	struct buddy_alloc a;
	char *p = take_filled(fd, 4 * MIB, &a);
	uint64_t at = a.out_offset;

	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_PRIVATE, at), -EINVAL);
	expect_eq(try_map(NULL, 4 * MIB, PROT_READ, MAP_PRIVATE, at), -EINVAL);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_PRIVATE, 0), -EINVAL);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED_VALIDATE, at), 0);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED_VALIDATE | MAP_SYNC, at),
		  -EOPNOTSUPP);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED | MAP_HUGETLB, at), -EINVAL);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED | MAP_GROWSDOWN, at), -EINVAL);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED | MAP_NORESERVE, at), 0);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED | MAP_32BIT, at), 0);
	expect_eq(try_map(NULL, 4 * MIB, PROT_NONE, MAP_SHARED, at), 0);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED, at + 1), -EINVAL);
	expect_eq(try_map(odd, 4 * MIB, RW, MAP_SHARED | MAP_FIXED, at), -EINVAL);
	expect_eq(try_map(p, 4 * MIB, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, at),
		  -EEXIST);
	expect(intact(p, 4 * MIB));
	give_back(fd, p, &a);
}

/* Of a program with an executable stack: each new mapping asks to be executable. */
TEST_F(device, read_implies_exec)
{
	struct buddy_alloc a;
	char *p = take_filled(fd, 4 * MIB, &a);
	int before = personality(0xffffffff);

	expect(personality((unsigned long)before | READ_IMPLIES_EXEC) != -1);
	expect_eq(try_map(NULL, 4 * MIB, RW, MAP_SHARED, a.out_offset), -EACCES);
	expect_eq(try_map(NULL, 4 * MIB, PROT_WRITE, MAP_SHARED, a.out_offset), 0);
	/* what cannot become executable is left as it is */
	expect(!mprotect(p, 4 * MIB, PROT_NONE));
	expect(!mprotect(p, 4 * MIB, RW));
	personality((unsigned long)before);
	expect(intact(p, 4 * MIB));
	give_back(fd, p, &a);
}

TEST_F(device, map_populate_map_locked)
{
	static const int flags[] = { MAP_POPULATE, MAP_LOCKED };

	for (int i = 0; i < 4; i++) {
		uint64_t length = lengths[i % 2];
		struct buddy_alloc a;
		char *p;

		expect_eq(alloc_block(fd, length, &a), 0);
		p = mmap(NULL, length, RW, MAP_SHARED | flags[i / 2], fd,
			 (off_t)a.out_offset);
		expect(p != MAP_FAILED);
		expect_eq(smaps(p, "Rss"), length / 1024);
		expect_eq(smaps(p, "Locked"), 0);
		expect(is_zero(p, length));
		give_back(fd, p, &a);
	}
}

static void fault_100(void)
{
	char *p = mmap(NULL, 100 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(p, 100 * PAGE, MADV_NOHUGEPAGE);
	fill(p, 1, 100 * PAGE);
	munmap(p, 100 * PAGE);
}

TEST_F(device, smaps_and_status)
{
	static const char *const zero[] = {
		"Anonymous", "AnonHugePages", "ShmemPmdMapped", "Shared_Hugetlb",
		"Private_Hugetlb", "LazyFree", "Swap", "Locked",
	};
	bool huge = is_huge(fd);
	struct buddy_alloc first;
	char *q = take_filled(fd, PAGE, &first);

	/* the code of these functions is in RssFile, too: from now on it is there */
	expect(has_flag(q, " sh") && smaps(q, "Size") == 4 && status_kb("RssFile") > 0);
	give_back(fd, q, &first);
	for (int l = 0; l < 2; l++) {
		long kb = (long)lengths[l] / 1024, rss;
		struct buddy_alloc a;
		char *p;

		/* exact to some pages a CPU, and on 6.1 after 64 more faults */
		fault_100();
		rss = status_kb("RssFile");
		p = take_filled(fd, lengths[l], &a);

		expect_eq(smaps(p, "Size"), kb);
		expect_eq(smaps(p, "Rss"), kb);
		expect_eq(smaps(p, "Pss"), kb);
		expect_eq(smaps(p, "Private_Dirty"), kb);
		expect_eq(smaps(p, "FilePmdMapped"), l && huge ? kb : 0);
		for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
			expect_eq(smaps(p, zero[i]), 0);
		fault_100();
		expect(labs(status_kb("RssFile") - rss - kb) <= 512);
		expect(has_flag(p, " sh"));
		expect(has_flag(p, " dd"));
		give_back(fd, p, &a);
	}
}

TEST_F(device, ksm)
{
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);

		expect(!madvise(p, lengths[l], MADV_MERGEABLE));
		expect(!has_flag(p, " mg"));
		give_back(fd, p, &a);
	}
}

static int uffd_register(void *p, size_t length, uint64_t features, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register r = {
		.range = { (uintptr_t)p, length },
		.mode = mode,
	};
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC), err;

	expect(uffd >= 0);
	/* older kernels know no such feature: EINVAL, too */
	err = call(uffd, UFFDIO_API, &api) ?: call(uffd, UFFDIO_REGISTER, &r);
	close(uffd);
	return err;
}

TEST_F(device, userfaultfd)
{
	char *anonymous = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect_eq(uffd_register(anonymous, MIB, 0, UFFDIO_REGISTER_MODE_MISSING), 0);
	munmap(anonymous, MIB);
	for (int l = 0; l < 2; l++) {
		struct buddy_alloc a;
		char *p = take_filled(fd, lengths[l], &a);

		for (uint64_t mode = 1; mode <= 4; mode *= 2)
			expect_eq(uffd_register(p, lengths[l], 0, mode), -EINVAL);
		expect_eq(uffd_register(p, lengths[l], UFFD_WP_ASYNC,
					UFFDIO_REGISTER_MODE_WP), -EINVAL);
		expect(intact(p, lengths[l]));
		give_back(fd, p, &a);
	}
}

TEST_HARNESS_MAIN
