// SPDX-License-Identifier: MIT
/*
 * dtype.c - the kinds of numbers, by the names that NumPy and PyTorch give them.
 */
#include <string.h>

#include "types.h"

/* C's long, and NumPy's names of it. Pointers are as long on all that Linux runs on. */
#define LONG	" l n p long int int_ intp int0"
#define ULONG	" L N P ulong uint uintp uint0"
#if __SIZEOF_LONG__ == 8
#define IF_32(names)
#define IF_64(names)	names
#else
#define IF_32(names)	names
#define IF_64(names)
#endif

/*
 * Little-endian, as all machines are that this runs on. The last column has the other
 * names that NumPy takes, "float" and "int" as Python means them among them. What follows
 * the byte order in typestr is one, too, if the buffer protocol has the kind: to NumPy "V2"
 * is two bytes, and not a bfloat16.
 */
static const struct dtype dtypes[] = {
	{ "uint8", "B", "|u1", DL_UINT, 8, "B ubyte" },
	{ "int8", "b", "|i1", DL_INT, 8, "b byte" },
	{ "bool", "?", "|b1", DL_BOOL, 8, "? bool_ bool8" },
	{ "int16", "h", "<i2", DL_INT, 16, "h short" },
	{ "uint16", "H", "<u2", DL_UINT, 16, "H ushort" },
	{ "int32", "i", "<i4", DL_INT, 32, "i intc" IF_32(LONG) },
	{ "uint32", "I", "<u4", DL_UINT, 32, "I uintc" IF_32(ULONG) },
	{ "int64", "q", "<i8", DL_INT, 64, "q longlong" IF_64(LONG) },
	{ "uint64", "Q", "<u8", DL_UINT, 64, "Q ulonglong" IF_64(ULONG) },
	{ "float16", "e", "<f2", DL_FLOAT, 16, "e half" },
	{ "float32", "f", "<f4", DL_FLOAT, 32, "f single" },
	{ "float64", "d", "<f8", DL_FLOAT, 64, "d double float float_" },
	{ "complex64", "Zf", "<c8", DL_COMPLEX, 64, "F csingle singlecomplex" },
	{ "complex128", "Zd", "<c16", DL_COMPLEX, 128, "D cdouble cfloat complex complex_" },
	{ "bfloat16", NULL, "<V2", DL_BFLOAT, 16, "" },
	{ "complex32", NULL, "<V4", DL_COMPLEX, 32, "" },
	{ "float8_e4m3fn", NULL, "|V1", DL_FLOAT8_E4M3FN, 8, "" },
	{ "float8_e4m3fnuz", NULL, "|V1", DL_FLOAT8_E4M3FNUZ, 8, "" },
	{ "float8_e5m2", NULL, "|V1", DL_FLOAT8_E5M2, 8, "" },
	{ "float8_e5m2fnuz", NULL, "|V1", DL_FLOAT8_E5M2FNUZ, 8, "" },
	{ "float8_e8m0fnu", NULL, "|V1", DL_FLOAT8_E8M0FNU, 8, "" },
};

#define COUNT (sizeof(dtypes) / sizeof(dtypes[0]))

const struct dtype *dtype_named(const char *name)
{
	for (size_t i = 0; i < COUNT; i++)
		if (!strcmp(dtypes[i].name, name))
			return &dtypes[i];
	return NULL;
}

/* @names: words with a blank between two. */
static bool has_word(const char *names, const char *word, size_t length)
{
	for (size_t next; *names; names += next + (names[next] == ' ')) {
		next = strcspn(names, " ");
		if (next == length && !memcmp(names, word, length))
			return true;
	}
	return false;
}

/* Another name that NumPy takes. Behind a byte order: a typestr or a code of one letter. */
static const struct dtype *dtype_alias(const char *text, bool ordered)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < COUNT; i++)
		if ((dtypes[i].format && !strcmp(dtypes[i].typestr + 1, text)) ||
		    ((!ordered || length == 1) && has_word(dtypes[i].names, text, length)))
			return &dtypes[i];
	return NULL;
}

/* NumPy's byte order before the name; @swapped: it is the other one, of several bytes. */
static const struct dtype *dtype_from_text(const char *text, bool *swapped)
{
	const struct dtype *dtype;

	if (!strncmp(text, "torch.", 6))
		return dtype_named(text + 6);
	if (*text && strchr("<>=|", *text)) {
		dtype = dtype_alias(text + 1, true);
		*swapped = *text == '>' && dtype && dtype->bits > 8;
		return dtype;
	}
	dtype = dtype_named(text);
	return dtype ? dtype : dtype_alias(text, false);
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

/* NULL with TypeError if @object names no kind. */
const struct dtype *dtype_of(PyObject *object)
{
	const struct dtype *dtype = NULL;
	PyObject *name = name_of(object);
	bool swapped = false;
	Py_ssize_t length = 0;
	const char *text = name ? PyUnicode_AsUTF8AndSize(name, &length) : NULL;

	if (text && strlen(text) == (size_t)length)
		dtype = dtype_from_text(text, &swapped);
	if (text && !dtype)
		PyErr_Format(PyExc_TypeError, "no kind of numbers: %R", object);
	if (dtype && (swapped || (!PyUnicode_Check(object) && is_swapped(object)))) {
		PyErr_Format(PyExc_TypeError, "%R: not the byte order of this machine", object);
		dtype = NULL;
	}
	Py_XDECREF(name);
	return dtype;
}
