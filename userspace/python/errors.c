// SPDX-License-Identifier: MIT
/*
 * errors.c - from errnos to exceptions.
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
