// SPDX-License-Identifier: MIT
/*
 * dtype.c - the kinds of numbers, by the names that NumPy and PyTorch give them.
 */
#include <string.h>

#include "types.h"

/* Little-endian, as all machines are that this runs on. */
static const struct dtype dtypes[] = {
	{ "uint8", "B", "|u1", DL_UINT, 8 },
	{ "int8", "b", "|i1", DL_INT, 8 },
	{ "bool", "?", "|b1", DL_BOOL, 8 },
	{ "int16", "h", "<i2", DL_INT, 16 },
	{ "uint16", "H", "<u2", DL_UINT, 16 },
	{ "int32", "i", "<i4", DL_INT, 32 },
	{ "uint32", "I", "<u4", DL_UINT, 32 },
	{ "int64", "q", "<i8", DL_INT, 64 },
	{ "uint64", "Q", "<u8", DL_UINT, 64 },
	{ "float16", "e", "<f2", DL_FLOAT, 16 },
	{ "float32", "f", "<f4", DL_FLOAT, 32 },
	{ "float64", "d", "<f8", DL_FLOAT, 64 },
	{ "complex64", "Zf", "<c8", DL_COMPLEX, 64 },
	{ "complex128", "Zd", "<c16", DL_COMPLEX, 128 },
	{ "bfloat16", NULL, "<V2", DL_BFLOAT, 16 },
	{ "complex32", NULL, "<V4", DL_COMPLEX, 32 },
	{ "float8_e4m3fn", NULL, "|V1", DL_FLOAT8_E4M3FN, 8 },
	{ "float8_e4m3fnuz", NULL, "|V1", DL_FLOAT8_E4M3FNUZ, 8 },
	{ "float8_e5m2", NULL, "|V1", DL_FLOAT8_E5M2, 8 },
	{ "float8_e5m2fnuz", NULL, "|V1", DL_FLOAT8_E5M2FNUZ, 8 },
	{ "float8_e8m0fnu", NULL, "|V1", DL_FLOAT8_E8M0FNU, 8 },
};

#define COUNT (sizeof(dtypes) / sizeof(dtypes[0]))

/* NumPy calls the type of its truth values bool_. */
const struct dtype *dtype_named(const char *name)
{
	if (!strcmp(name, "bool_"))
		name = "bool";
	for (size_t i = 0; i < COUNT; i++)
		if (!strcmp(dtypes[i].name, name))
			return &dtypes[i];
	return NULL;
}

const struct dtype *dtype_coded(struct dl_data_type type)
{
	for (size_t i = 0; i < COUNT; i++)
		if (dtypes[i].code == type.code && dtypes[i].bits == type.bits &&
		    type.lanes == 1)
			return &dtypes[i];
	return NULL;
}

/* The text that names a kind: a str, dtype.name, type.__name__ or str(torch.dtype). */
static PyObject *name_of(PyObject *object)
{
	static const char *const attributes[] = { "name", "__name__" };

	if (PyUnicode_Check(object))
		return Py_NewRef(object);
	for (int i = 0; i < 2; i++) {
		PyObject *name = PyObject_GetAttrString(object, attributes[i]);

		if (name && PyUnicode_Check(name))
			return name;
		Py_XDECREF(name);
		PyErr_Clear();
	}
	return PyObject_Str(object);
}

/* NumPy's dtypes have the same name in both orders of their bytes. */
static bool is_swapped(PyObject *object)
{
	PyObject *native = PyObject_GetAttrString(object, "isnative");
	bool swapped = native == Py_False;

	Py_XDECREF(native);
	PyErr_Clear();
	return swapped;
}

/* NULL with TypeError where @object names no kind. */
const struct dtype *dtype_of(PyObject *object)
{
	const struct dtype *dtype = NULL;
	PyObject *name = name_of(object);
	Py_ssize_t length = 0;
	const char *text = name ? PyUnicode_AsUTF8AndSize(name, &length) : NULL;

	if (text && strlen(text) == (size_t)length)
		dtype = dtype_named(strncmp(text, "torch.", 6) ? text : text + 6);
	if (text && !dtype)
		PyErr_Format(PyExc_TypeError, "no kind of numbers: %R", object);
	if (dtype && !PyUnicode_Check(object) && is_swapped(object)) {
		PyErr_Format(PyExc_TypeError, "%R: not the byte order of this machine", object);
		dtype = NULL;
	}
	Py_XDECREF(name);
	return dtype;
}
