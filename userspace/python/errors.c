// SPDX-License-Identifier: MIT
/*
 * errors.c - from errnos to exceptions.
 */
#include <string.h>

#include "types.h"

/*
 * OSError makes an exception of the kind that its number has: for EAGAIN that is
 * BlockingIOError, which asks for another try. Here it is a limit (RLIMIT_MEMLOCK), and
 * the number is set later.
 */
static PyObject *new_os(int error, PyObject *text)
{
	PyObject *number = PyLong_FromLong(-error), *value = NULL;

	if (number && error != -EAGAIN)
		value = PyObject_CallFunctionObjArgs(PyExc_OSError, number, text, NULL);
	else if (number)
		value = PyObject_CallFunctionObjArgs(PyExc_OSError, text, NULL);
	if (value && (PyObject_SetAttrString(value, "errno", number) ||
		      PyObject_SetAttrString(value, "strerror", text)))
		Py_CLEAR(value);
	Py_XDECREF(number);
	return value;
}

/* A text may have a path in it, which is not always UTF-8. Always NULL. */
static PyObject *raise_os(int error, const char *string)
{
	PyObject *text = PyUnicode_DecodeFSDefault(string);
	PyObject *value = text ? new_os(error, text) : NULL;

	if (value)
		PyErr_SetObject((PyObject *)Py_TYPE(value), value);
	Py_XDECREF(value);
	Py_XDECREF(text);
	return NULL;
}

/* What a call of the kernel returned. Always NULL. */
PyObject *raise_system(int error)
{
	return error == -ENOMEM ? PyErr_NoMemory() : raise_os(error, strerror(-error));
}

/* What a call of the library returned, the last that failed in this thread. Always NULL. */
PyObject *raise_library(int error)
{
	return raise_os(error, buddy_error());
}

/* The same as an exception of @type, which has no number. */
PyObject *raise_library_as(PyObject *type)
{
	PyObject *text = PyUnicode_DecodeFSDefault(buddy_error());

	if (text)
		PyErr_SetObject(type, text);
	Py_XDECREF(text);
	return NULL;
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
