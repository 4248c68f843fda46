// SPDX-License-Identifier: MIT
/*
 * errors.c - from errnos to exceptions.
 */
#include <string.h>

#include "types.h"

static PyObject *raise_os(int error, const char *text)
{
	PyObject *value = Py_BuildValue("(is)", -error, text);

	if (value) {
		PyErr_SetObject(PyExc_OSError, value);
		Py_DECREF(value);
	}
	return NULL;
}

/* What a call of the library or of the kernel returned. Always NULL. */
PyObject *raise_system(int error)
{
	if (error == -ENOMEM)
		return PyErr_NoMemory();
	/* the library's text is about fork(), as only an arena's is here */
	return raise_os(error, error == -EPERM ? strerror(EPERM) : buddy_strerror(error));
}

/* What a call of an arena returned. Always NULL. @key: the handle, for KeyError. */
PyObject *raise_errno(int error, PyObject *key)
{
	switch (error) {
	case -ESHUTDOWN:
		PyErr_SetString(PyExc_ValueError, "the region is closed");
		return NULL;
	case -EBUSY:
		PyErr_SetString(PyExc_BufferError,
				"views exist: arrays, tensors or memoryviews of these bytes");
		return NULL;
	case -ENOENT:
		if (key) {
			PyErr_SetObject(PyExc_KeyError, key);
			return NULL;
		}
		break;
	case -EPERM:
		return raise_os(error,
				"the region belongs to the process that opened it; after fork() open another");
	}
	return raise_system(error);
}

/* __reduce__(): memory is not a value, and its address not another process's. */
PyObject *raise_no_pickle(PyObject *self, PyObject *unused)
{
	PyObject *name = PyType_GetName(Py_TYPE(self));

	(void)unused;
	if (name)
		PyErr_Format(PyExc_TypeError, "cannot pickle or copy '%U' objects", name);
	Py_XDECREF(name);
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
