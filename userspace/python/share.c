// SPDX-License-Identifier: MIT
/*
 * share.c - a region for other processes: a descriptor, and what they do with it.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "error.h"
#include "types.h"

PyObject *region_share(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "read_only", NULL };
	struct region *region = (struct region *)self;
	int read_only = 0, fd, err;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:share", names, &read_only))
		return NULL;
	err = arena_hold(&region->arena);
	if (err)
		return raise_errno(err, NULL);
	Py_BEGIN_ALLOW_THREADS
	fd = buddy_block_share(region->memory.block, read_only ? BUDDY_SHARE_READ_ONLY : 0);
	Py_END_ALLOW_THREADS
	arena_unhold(&region->arena);
	if (fd == -EOPNOTSUPP)
		return raise_library_as(PyExc_NotImplementedError);
	return fd < 0 ? raise_library(fd) : PyLong_FromLong(fd);
}

struct shared {
	int fd;
	bool read_only;
	uint64_t length;
	void *address;
};

static int shared_map(struct shared *s)
{
	struct buddy_block_info info = { .size = sizeof(info) };
	int access = fcntl(s->fd, F_GETFL);

	if (access < 0 || ioctl(s->fd, BUDDY_IOC_BLOCK, &info) < 0)
		return buddy_fail(&(struct buddy_failure){
			.operation = OP_FROM_FD, .error = -errno, .fd = s->fd }, NULL, NULL);
	s->read_only = (access & O_ACCMODE) == O_RDONLY;
	s->length = info.out_length;
	s->address = mmap(NULL, s->length, s->read_only ? PROT_READ : PROT_READ | PROT_WRITE,
			  MAP_SHARED, s->fd, 0);
	if (s->address != MAP_FAILED)
		return 0;
	return buddy_fail(&(struct buddy_failure){
		.operation = OP_MAP, .error = -errno, .length = s->length }, NULL, NULL);
}

/* open_shared(fd) -> Array of bytes, mapped until it and its views are gone */
PyObject *open_shared(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "fd", NULL };
	struct shared s = { 0 };
	struct layout layout;
	struct array *array;
	int err;

	(void)module;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:open_shared", names, &s.fd))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = shared_map(&s);
	Py_END_ALLOW_THREADS
	if (err)
		return raise_library(err);
	layout_of_bytes(&layout, s.length);
	array = array_new(&layout, s.address);
	if (!array) {
		munmap(s.address, s.length);
		return NULL;
	}
	array->keeper = KEEPER_MAPPING;
	array->handle = s.length;
	array->read_only = s.read_only;
	return (PyObject *)array;
}
