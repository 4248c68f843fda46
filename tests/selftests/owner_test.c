// SPDX-License-Identifier: MIT
/*
 * owner_test.c - whose pids EXTENTS shows: those of the caller's own user, and all of
 * them to CAP_SYS_ADMIN in the initial user namespace. Needs root and the module.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ktest.h"

#define SOMEBODY	65534
#define ANOTHER		65533

/* What is shown: the pid of the one owner there is, or -1 if there is not one. */
static int shown(int node)
{
	struct buddy_extent_entry e[64];
	struct buddy_extents x = {
		.size = sizeof(x), .entries = (uintptr_t)e, .count = 64,
	};
	int pid = -1;

	if (ioctl(node, BUDDY_IOC_EXTENTS, &x))
		return -1;
	for (uint32_t i = 0; i < x.out_count; i++)
		if (e[i].state == BUDDY_EXTENT_USED)
			pid = e[i].pid;
	return pid;
}

static void become(uid_t uid)
{
	if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
		_exit(100);
}

/* A process of @uid that opens the node and has a block, until the end of @release[0]. */
static pid_t owner(uid_t uid, int release[2])
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) || pipe(release))
		return -1;
	pid = fork();
	if (!pid) {
		struct buddy_alloc a = { .size = sizeof(a), .length = MIB };
		int node;

		close(release[1]);
		become(uid);
		node = open("/dev/buddy", O_RDWR);
		if (node < 0 || ioctl(node, BUDDY_IOC_ALLOC, &a))
			_exit(1);
		close(ready[1]);
		while (read(release[0], &byte, 1) > 0)
			;
		_exit(0);
	}
	close(ready[1]);
	while (read(ready[0], &byte, 1) > 0)
		;
	close(ready[0]);
	close(release[0]);
	return pid;
}

enum caller { ROOT, SAME_USER, OTHER_USER, ROOT_OF_A_USER_NAMESPACE, ROOT_OF_A_PID_NAMESPACE };

/* What a caller of that kind is shown of @pid. Return: 0 if it is @wanted. */
static int look(enum caller who, pid_t wanted)
{
	pid_t pid = fork();
	int status, node;

	if (!pid) {
		if (who == SAME_USER)
			become(SOMEBODY);
		if (who == OTHER_USER)
			become(ANOTHER);
		node = open("/dev/buddy", O_RDONLY);
		if (who == ROOT_OF_A_USER_NAMESPACE) {
			become(ANOTHER);
			if (unshare(CLONE_NEWUSER))
				_exit(101);
		}
		if (who == ROOT_OF_A_PID_NAMESPACE) {
			/* the caller is the first process of it */
			if (unshare(CLONE_NEWPID))
				_exit(101);
			pid = fork();
			if (pid) {
				waitpid(pid, &status, 0);
				_exit(WEXITSTATUS(status));
			}
		}
		_exit(node < 0 ? 102 : shown(node) != wanted);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

FIXTURE(owner) {
	pid_t pid;
	int release[2];
};

FIXTURE_VARIANT(owner) {
	uid_t uid;
	enum caller who;
	bool seen;
};

FIXTURE_VARIANT_ADD(owner, root_sees_a_user) { SOMEBODY, ROOT, true };
FIXTURE_VARIANT_ADD(owner, a_user_sees_himself) { SOMEBODY, SAME_USER, true };
FIXTURE_VARIANT_ADD(owner, a_user_does_not_see_root) { 0, OTHER_USER, false };
FIXTURE_VARIANT_ADD(owner, a_user_does_not_see_another) { SOMEBODY, OTHER_USER, false };
FIXTURE_VARIANT_ADD(owner, root_of_a_user_namespace) { SOMEBODY, ROOT_OF_A_USER_NAMESPACE, false };
FIXTURE_VARIANT_ADD(owner, a_pid_namespace_has_no_number) { 0, ROOT_OF_A_PID_NAMESPACE, false };

FIXTURE_SETUP(owner)
{
	ASSERT_EQ(0, chmod("/dev/buddy", 0666));
	self->pid = owner(variant->uid, self->release);
	ASSERT_LT(0, self->pid);
}

FIXTURE_TEARDOWN(owner)
{
	close(self->release[1]);
	waitpid(self->pid, NULL, 0);
	chmod("/dev/buddy", 0600);
}

TEST_F(owner, extents)
{
	EXPECT_EQ(0, look(variant->who, variant->seen ? self->pid : 0));
}

/* A number of the caller's own PID namespace: in it, it is process 1. */
TEST(own_pid_in_a_pid_namespace)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (unshare(CLONE_NEWPID))
			_exit(101);
		pid = fork();
		if (!pid) {
			struct buddy_alloc a = { .size = sizeof(a), .length = MIB };
			int node = open("/dev/buddy", O_RDWR);

			_exit(ioctl(node, BUDDY_IOC_ALLOC, &a) || getpid() != 1 ||
			      shown(node) != 1);
		}
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
