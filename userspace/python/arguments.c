// SPDX-License-Identifier: MIT
/*
 * arguments.c - what is passed to calls: keywords, handles, numbers of bytes.
 */
#include "types.h"

/* The rest of argument(): by keyword, or TypeError. */
PyObject *argument_named(PyObject *const *args, Py_ssize_t count, PyObject *names,
			 const char *name)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;

	if (count + named != 1) {
		PyErr_Format(PyExc_TypeError, "one argument, %s, not %zd", name, count + named);
		return NULL;
	}
	if (!named || !PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), name))
		return args[0];
	PyErr_Format(PyExc_TypeError, "the argument is %s, not %U", name,
		     PyTuple_GetItem(names, 0));
	return NULL;
}

/* Out of @rest, the keywords of an __init__, into *@value, which an argument may be in. */
int take_keyword(PyObject *rest, const char *name, PyObject **value)
{
	PyObject *found = PyDict_GetItemString(rest, name);

	if (!found)
		return 0;
	if (*value) {
		PyErr_Format(PyExc_TypeError, "%s is given twice", name);
		return -1;
	}
	*value = Py_NewRef(found);
	return PyDict_DelItemString(rest, name);
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
