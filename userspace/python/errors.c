// SPDX-License-Identifier: MIT
/*
 * errors.c - from errnos to exceptions, and from Python's numbers to ours.
 */
#include "types.h"

/* Always NULL. @key: the handle, for KeyError. */
PyObject *raise_errno(int error, PyObject *key)
{
	PyObject *value;

	switch (error) {
	case -ESHUTDOWN:
		PyErr_SetString(PyExc_ValueError, "the region is closed");
		return NULL;
	case -EBUSY:
		PyErr_SetString(PyExc_BufferError,
				"views exist: arrays, tensors or memoryviews of these bytes");
		return NULL;
	case -ENOMEM:
		return PyErr_NoMemory();
	case -ENOENT:
		if (key) {
			PyErr_SetObject(PyExc_KeyError, key);
			return NULL;
		}
		break;
	}
	value = Py_BuildValue("(is)", -error,
			      error == -EPERM ?
			      "the region belongs to the process that opened it; after fork() open another" :
			      buddy_strerror(error));
	if (value) {
		PyErr_SetObject(PyExc_OSError, value);
		Py_DECREF(value);
	}
	return NULL;
}

/* @size: what was asked for */
PyObject *raise_no_memory(struct region *region, PyObject *size)
{
	struct arena_view v;

	arena_look(&region->arena, &v);
	PyErr_Format(PyExc_MemoryError,
		     "no room for %S bytes: %llu free, the largest range has %llu", size,
		     (unsigned long long)v.free << region->arena.shift,
		     (unsigned long long)v.largest << region->arena.shift);
	return NULL;
}

/* A handle; 0 (never one) where an int is none. -1: not an int. */
int handle_from(PyObject *object, uint64_t *handle)
{
	int overflow;
	long long value = PyLong_AsLongLongAndOverflow(object, &overflow);

	if (value == -1 && PyErr_Occurred())
		return -1;
	*handle = overflow || value < 0 ? 0 : (uint64_t)value;
	return 0;
}

/* A number of bytes: 1 or more, else ValueError; TOO_MANY where it is that or above. */
int bytes_from(PyObject *object, const char *what, uint64_t *bytes)
{
	int overflow;
	long long value = PyLong_AsLongLongAndOverflow(object, &overflow);

	if (value == -1 && PyErr_Occurred())
		return -1;
	if (overflow < 0 || (!overflow && value <= 0)) {
		PyErr_Format(PyExc_ValueError, "%s must be positive, not %S", what,
			     object);
		return -1;
	}
	*bytes = overflow ? TOO_MANY : (uint64_t)value;
	return 0;
}

/* The length of a region, likewise; MemoryError where it is too much for any. */
int size_from(PyObject *object, const char *what, uint64_t *bytes)
{
	if (bytes_from(object, what, bytes))
		return -1;
	if (*bytes < TOO_MANY)
		return 0;
	PyErr_Format(PyExc_MemoryError, "%s: %S bytes", what, object);
	return -1;
}
