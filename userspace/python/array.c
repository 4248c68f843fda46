// SPDX-License-Identifier: MIT
/*
 * array.c - Array: bytes with a kind, a shape and strides. Not for arithmetic: it is
 * what NumPy, PyTorch and others take over without a copy, and what keeps the bytes
 * for as long as they have them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "types.h"

PyTypeObject *array_type;

/*
 * Making one
 */

static Py_ssize_t item_size(const struct dtype *dtype)
{
	return dtype->bits / 8;
}

/* Elements. The products were checked by layout_check(). */
static Py_ssize_t count_of(const Py_ssize_t *shape, int ndim)
{
	Py_ssize_t count = 1;

	for (int i = 0; i < ndim; i++)
		count *= shape[i];
	return count;
}

/*
 * All of it from its first moment on: the collector, which shows objects to anybody, has
 * it before we have. A keeper of a pin without a region does nothing at its end.
 */
struct array *array_new(const struct layout *layout, char *data)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(array_type, Py_tp_alloc);
	size_t ndim = (size_t)layout->ndim;
	Py_ssize_t *numbers = malloc((2 * ndim + 1) * sizeof(*numbers));
	struct array *array;

	if (!numbers) {
		PyErr_NoMemory();
		return NULL;
	}
	memcpy(numbers, layout->shape, ndim * sizeof(*numbers));
	memcpy(numbers + ndim, layout->strides, ndim * sizeof(*numbers));
	array = (struct array *)alloc(array_type, 0);
	if (!array) {
		free(numbers);
		return NULL;
	}
	array->shape = numbers;
	array->strides = numbers + ndim;
	array->dtype = layout->dtype;
	array->ndim = layout->ndim;
	array->data = data;
	return array;
}

/* An array that takes over a pin; undone on failure. */
static PyObject *array_of(struct region *region, const struct arena_block *block,
			  const struct layout *layout, Py_ssize_t offset)
{
	char *start = region->memory.base + ((uint64_t)block->offset << region->arena.shift);
	struct array *array = array_new(layout, start + offset);

	if (!array) {
		arena_unpin(&region->arena, block->handle);
		return NULL;
	}
	Py_INCREF((PyObject *)region);
	array->region = region;
	array->handle = block->handle;
	return (PyObject *)array;
}

void layout_of_bytes(struct layout *layout, uint64_t bytes)
{
	layout->dtype = dtype_named("uint8");
	layout->ndim = 1;
	layout->shape[0] = (Py_ssize_t)bytes;
	layout->strides[0] = 1;
}

/* All bytes of a block that was pinned for it; the pin is undone on failure. */
PyObject *array_of_pin(struct region *region, const struct arena_block *block)
{
	struct layout layout;

	layout_of_bytes(&layout, block->requested);
	return array_of(region, block, &layout, 0);
}

/*
 * Shapes
 */

void layout_set_dense(struct layout *layout)
{
	Py_ssize_t stride = item_size(layout->dtype);

	for (int i = layout->ndim - 1; i >= 0; i--) {
		layout->strides[i] = stride;
		stride *= layout->shape[i] ? layout->shape[i] : 1;
	}
}

/* No negative length, and no product that overflows: of the lengths that are not 0. */
int layout_check(const struct layout *layout)
{
	Py_ssize_t bytes = item_size(layout->dtype);

	for (int i = 0; i < layout->ndim; i++) {
		if (layout->shape[i] < 0) {
			PyErr_SetString(PyExc_ValueError, "a negative length in shape");
			return -1;
		}
		if (layout->shape[i] &&
		    __builtin_mul_overflow(bytes, layout->shape[i], &bytes)) {
			PyErr_SetString(PyExc_ValueError, "the shape is too large");
			return -1;
		}
	}
	return 0;
}

/* An int, or a sequence of them. An array of no dimension is an int to NumPy and PyTorch. */
static PyObject *tuple_of(PyObject *object)
{
	PyObject *tuple, *number;

	if (PyIndex_Check(object) && !PySequence_Check(object))
		return PyTuple_Pack(1, object);
	tuple = PySequence_Tuple(object);
	if (tuple || !PyIndex_Check(object) || !PyErr_ExceptionMatches(PyExc_TypeError))
		return tuple;
	PyErr_Clear();
	number = PyNumber_Index(object);
	tuple = number ? PyTuple_Pack(1, number) : NULL;
	Py_XDECREF(number);
	return tuple;
}

/* How many numbers there are, at most DIMENSIONS; -1 with an exception. */
static int numbers_from(PyObject *object, Py_ssize_t *numbers)
{
	PyObject *tuple = tuple_of(object);
	Py_ssize_t count = tuple ? PyTuple_Size(tuple) : -1;

	if (count > DIMENSIONS) {
		PyErr_Format(PyExc_ValueError, "more than %d dimensions", DIMENSIONS);
		count = -1;
	}
	for (Py_ssize_t i = 0; i < count; i++) {
		numbers[i] = PyNumber_AsSsize_t(PyTuple_GetItem(tuple, i),
						PyExc_OverflowError);
		if (numbers[i] == -1 && PyErr_Occurred())
			count = -1;
	}
	Py_XDECREF(tuple);
	return (int)count;
}

static int out_of_bounds(Py_ssize_t limit)
{
	PyErr_Format(PyExc_ValueError, "the view does not lie in the %zd bytes of the block",
		     limit);
	return -1;
}

/* The elements lie in the bytes 0 .. limit - 1, as does @offset or behind the last. */
static int check_bounds(const struct layout *layout, Py_ssize_t offset, Py_ssize_t limit)
{
	Py_ssize_t low = offset, high = offset, far;
	bool bad = false;

	if (!count_of(layout->shape, layout->ndim))
		return 0;
	for (int i = 0; i < layout->ndim && !bad; i++) {
		bad = __builtin_mul_overflow(layout->shape[i] - 1, layout->strides[i], &far);
		bad = bad || __builtin_add_overflow(far < 0 ? low : high, far,
						    far < 0 ? &low : &high);
	}
	bad = bad || low < 0 ||
	      __builtin_add_overflow(high, item_size(layout->dtype), &high) || high > limit;
	return bad ? out_of_bounds(limit) : 0;
}

/*
 * Views as Python asks for them
 */

struct request {
	PyObject *shape, *strides;
	Py_ssize_t offset;
};

static int request_parse(struct request *r, struct layout *layout, PyObject *args,
			 PyObject *kwargs)
{
	static char *names[] = { "dtype", "shape", "strides", "offset", NULL };
	PyObject *dtype = NULL;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO$On:view", names, &dtype,
					 &r->shape, &r->strides, &r->offset))
		return -1;
	if (r->shape == Py_None)
		r->shape = NULL;
	if (r->strides == Py_None)
		r->strides = NULL;
	layout->dtype = dtype ? dtype_of(dtype) : dtype_named("uint8");
	return layout->dtype ? 0 : -1;
}

/* Without a shape: as many as there is room for. */
static int request_shape(const struct request *r, struct layout *layout, Py_ssize_t limit)
{
	if (r->offset < 0 || r->offset > limit)
		return out_of_bounds(limit);
	if (r->shape) {
		layout->ndim = numbers_from(r->shape, layout->shape);
	} else {
		layout->ndim = 1;
		layout->shape[0] = (limit - r->offset) / item_size(layout->dtype);
	}
	return layout->ndim < 0 ? -1 : layout_check(layout);
}

static int request_strides(const struct request *r, struct layout *layout)
{
	int count;

	if (!r->strides) {
		layout_set_dense(layout);
		return 0;
	}
	count = numbers_from(r->strides, layout->strides);
	if (count >= 0 && count != layout->ndim) {
		PyErr_SetString(PyExc_ValueError, "shape and strides differ in length");
		count = -1;
	}
	return count < 0 ? -1 : 0;
}

/* The block was pinned; undone on failure. All of Python's calls come before the array. */
PyObject *array_of_request(struct region *region, const struct arena_block *block,
			   PyObject *args, PyObject *kwargs)
{
	Py_ssize_t limit = (Py_ssize_t)block->requested;
	struct request r = { 0 };
	struct layout layout;

	if (request_parse(&r, &layout, args, kwargs) || request_shape(&r, &layout, limit) ||
	    request_strides(&r, &layout) || check_bounds(&layout, r.offset, limit)) {
		arena_unpin(&region->arena, block->handle);
		return NULL;
	}
	return array_of(region, block, &layout, r.offset);
}

/*
 * The end
 */

static int array_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct array *)self)->region);
	return 0;
}

static void array_unmap(struct array *array)
{
	Py_BEGIN_ALLOW_THREADS
	munmap(array->data, array->handle);
	Py_END_ALLOW_THREADS
}

static void array_dealloc(PyObject *self)
{
	struct array *array = (struct array *)self;
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	PyObject_GC_UnTrack(self);
	if (array->weak)
		PyObject_ClearWeakRefs(self);
	if (array->keeper == KEEPER_PIN && array->region)
		arena_unpin(&array->region->arena, array->handle);
	else if (array->keeper == KEEPER_MAPPING)
		array_unmap(array);
	else if (array->foreign)
		array_drop_foreign(array);
	Py_XDECREF((PyObject *)array->region);
	free(array->shape);
	release(self);
	Py_DECREF(type);
}

/*
 * The buffer protocol
 */

static Py_ssize_t array_bytes(const struct array *array)
{
	return count_of(array->shape, array->ndim) * item_size(array->dtype);
}

static int buffer_error(const char *text)
{
	PyErr_SetString(PyExc_BufferError, text);
	return -1;
}

int array_buffer(PyObject *self, Py_buffer *view, int flags)
{
	struct array *array = (struct array *)self;
	bool c, f;

	view->obj = NULL;
	if (flags & PyBUF_WRITABLE && array->read_only)
		return buffer_error("read-only");
	if (flags & PyBUF_FORMAT && !array->dtype->format)
		return buffer_error("the buffer protocol has no such numbers");
	*view = (Py_buffer){
		.buf = array->data,
		.len = array_bytes(array),
		.itemsize = item_size(array->dtype),
		.readonly = array->read_only,
		.ndim = array->ndim,
		.format = (char *)array->dtype->format,
		.shape = array->shape,
		.strides = array->strides,
	};
	c = PyBuffer_IsContiguous(view, 'C');
	f = PyBuffer_IsContiguous(view, 'F');
	if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS && !c)
		return buffer_error("not contiguous as C has it");
	if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && !f)
		return buffer_error("not contiguous as Fortran has it");
	if ((flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS && !c && !f)
		return buffer_error("not contiguous");
	if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES && !c)
		return buffer_error("not contiguous, and strides were not asked for");
	if (!(flags & PyBUF_FORMAT))
		view->format = NULL;
	if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES)
		view->strides = NULL;
	if ((flags & PyBUF_ND) != PyBUF_ND) {
		view->shape = NULL;
		view->ndim = 1;		/* bytes, to who asks for nothing more */
	}
	view->obj = Py_NewRef(self);
	return 0;
}

/*
 * What it is
 */

static PyObject *tuple_from(const Py_ssize_t *numbers, int count)
{
	PyObject *tuple = PyTuple_New(count);

	for (int i = 0; tuple && i < count; i++) {
		PyObject *number = PyLong_FromSsize_t(numbers[i]);

		if (!number || PyTuple_SetItem(tuple, i, number))
			Py_CLEAR(tuple);
	}
	return tuple;
}

static PyObject *get_shape(PyObject *self, void *strides)
{
	struct array *array = (struct array *)self;

	return tuple_from(strides ? array->strides : array->shape, array->ndim);
}

static PyObject *get_dtype(PyObject *self, void *unused)
{
	(void)unused;
	return PyUnicode_FromString(((struct array *)self)->dtype->name);
}

static PyObject *get_nbytes(PyObject *self, void *unused)
{
	struct array *array = (struct array *)self;

	(void)unused;
	return PyLong_FromSsize_t(array_bytes(array));
}

static PyObject *get_address(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromVoidPtr(((struct array *)self)->data);
}

static PyObject *get_interface(PyObject *self, void *unused)
{
	struct array *array = (struct array *)self;
	PyObject *data = PyLong_FromVoidPtr(array->data);

	(void)unused;
	return Py_BuildValue("{s:i,s:s,s:N,s:N,s:(NN)}", "version", 3, "typestr",
			     array->dtype->typestr, "shape",
			     tuple_from(array->shape, array->ndim), "strides",
			     tuple_from(array->strides, array->ndim), "data", data,
			     PyBool_FromLong(array->read_only));
}

static PyObject *array_repr(PyObject *self)
{
	struct array *array = (struct array *)self;
	PyObject *shape = tuple_from(array->shape, array->ndim);
	PyObject *text = shape ? PyUnicode_FromFormat("<array %S of %s>", shape,
						      array->dtype->name) : NULL;

	Py_XDECREF(shape);
	return text;
}

static PyGetSetDef array_getset[] = {
	{ "shape", get_shape, NULL, "elements in each dimension", NULL },
	{ "strides", get_shape, NULL, "bytes from one to the next", (void *)1 },
	{ "dtype", get_dtype, NULL, "name of the kind of numbers", NULL },
	{ "nbytes", get_nbytes, NULL, "elements times their size", NULL },
	{ "address", get_address, NULL, "of the first element", NULL },
	{ "__array_interface__", get_interface, NULL, "version 3", NULL },
	{ 0 },
};

static PyMemberDef array_members[] = {
	WEAK(struct array),
	{ "readonly", T_BOOL, offsetof(struct array, read_only), READONLY, NULL },
	{ "ndim", T_INT, offsetof(struct array, ndim), READONLY, NULL },
	{ 0 },
};

static PyMethodDef array_methods[] = {
	{ "__dlpack__", WITH_KEYWORDS(array_to_dlpack), METH_VARARGS | METH_KEYWORDS, DLPACK_DOC },
	{ "__dlpack_device__", array_dlpack_device, METH_NOARGS, NULL },
	{ "__reduce__", raise_no_pickle, METH_NOARGS, NULL },
	{ 0 },
};

static PyType_Slot array_slots[] = {
	{ Py_tp_doc, "typed bytes; made by Block.view(), from_dlpack(), open_shared()" },
	{ Py_tp_dealloc, array_dealloc },
	{ Py_tp_traverse, array_traverse },
	{ Py_tp_repr, array_repr },
	{ Py_tp_methods, array_methods },
	{ Py_tp_getset, array_getset },
	{ Py_tp_members, array_members },
	{ Py_bf_getbuffer, array_buffer },
	{ 0 },
};

static PyType_Spec array_spec = {
	.name = "buddy_mem.Array",
	.basicsize = sizeof(struct array),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = array_slots,
};

int array_add(PyObject *module)
{
	if (!array_type)
		array_type = (PyTypeObject *)PyType_FromSpec(&array_spec);
	return array_type ? PyModule_AddObjectRef(module, "Array",
						  (PyObject *)array_type) : -1;
}
