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

/* Without bytes yet: a keeper of a pin without a region does nothing at its end. */
struct array *array_alloc(const struct dtype *dtype, int ndim)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(array_type, Py_tp_alloc);
	struct array *array = (struct array *)alloc(array_type, 0);

	if (!array)
		return NULL;
	array->shape = calloc((size_t)ndim * 2 + 1, sizeof(*array->shape));
	if (!array->shape) {
		Py_DECREF((PyObject *)array);
		PyErr_NoMemory();
		return NULL;
	}
	array->strides = array->shape + ndim;
	array->dtype = dtype;
	array->ndim = ndim;
	return array;
}

static Py_ssize_t item_size(const struct array *array)
{
	return array->dtype->bits / 8;
}

/* Elements. The products were checked when the shape was set. */
Py_ssize_t array_count(const struct array *array)
{
	Py_ssize_t count = 1;

	for (int i = 0; i < array->ndim; i++)
		count *= array->shape[i];
	return count;
}

void array_set_dense(struct array *array)
{
	Py_ssize_t stride = item_size(array);

	for (int i = array->ndim - 1; i >= 0; i--) {
		array->strides[i] = stride;
		stride *= array->shape[i] ? array->shape[i] : 1;
	}
}

static void own_pin(struct array *array, struct region *region,
		    const struct arena_block *block)
{
	Py_INCREF((PyObject *)region);
	array->region = region;
	array->handle = block->handle;
	array->data = region->memory.base + ((uint64_t)block->offset << region->arena.shift);
}

/* All bytes of a block that was pinned for it; the pin is undone on failure. */
PyObject *array_of_pin(struct region *region, const struct arena_block *block)
{
	struct array *array = array_alloc(dtype_named("uint8"), 1);

	if (!array) {
		arena_unpin(&region->arena, block->handle);
		return NULL;
	}
	own_pin(array, region, block);
	array->shape[0] = (Py_ssize_t)block->requested;
	array->strides[0] = 1;
	return (PyObject *)array;
}

/*
 * Shapes from Python
 */

/* An int, or a sequence of them; at most 64. */
static PyObject *tuple_of(PyObject *object)
{
	PyObject *tuple = PyLong_Check(object) ? PyTuple_Pack(1, object) :
						 PySequence_Tuple(object);

	if (tuple && PyTuple_Size(tuple) > 64) {
		PyErr_SetString(PyExc_ValueError, "more than 64 dimensions");
		Py_CLEAR(tuple);
	}
	return tuple;
}

static int numbers_from(PyObject *tuple, Py_ssize_t *numbers)
{
	for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++) {
		numbers[i] = PyNumber_AsSsize_t(PyTuple_GetItem(tuple, i),
						PyExc_OverflowError);
		if (numbers[i] == -1 && PyErr_Occurred())
			return -1;
	}
	return 0;
}

/* No negative length, and no product that overflows: of the lengths that are not 0. */
int array_check_shape(const struct array *array)
{
	Py_ssize_t bytes = item_size(array);

	for (int i = 0; i < array->ndim; i++) {
		if (array->shape[i] < 0) {
			PyErr_SetString(PyExc_ValueError, "a negative length in shape");
			return -1;
		}
		if (array->shape[i] &&
		    __builtin_mul_overflow(bytes, array->shape[i], &bytes)) {
			PyErr_SetString(PyExc_ValueError, "the shape is too large");
			return -1;
		}
	}
	return 0;
}

/* The elements lie in the bytes 0 .. limit - 1. */
static int check_bounds(const struct array *array, Py_ssize_t offset, Py_ssize_t limit)
{
	Py_ssize_t low = offset, high = offset, far;
	bool bad = offset < 0 || offset > limit;

	if (!bad && !array_count(array))
		return 0;
	for (int i = 0; i < array->ndim && !bad; i++) {
		bad = __builtin_mul_overflow(array->shape[i] - 1, array->strides[i], &far);
		bad = bad || __builtin_add_overflow(far < 0 ? low : high, far,
						    far < 0 ? &low : &high);
	}
	bad = bad || low < 0 || __builtin_add_overflow(high, item_size(array), &high) ||
	      high > limit;
	if (bad)
		PyErr_Format(PyExc_ValueError,
			     "the view does not lie in the %zd bytes of the block", limit);
	return bad ? -1 : 0;
}

struct request {
	PyObject *shape, *strides;
	const struct dtype *dtype;
	Py_ssize_t offset;
};

static int request_parse(struct request *r, PyObject *args, PyObject *kwargs)
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
	r->dtype = dtype ? dtype_of(dtype) : dtype_named("uint8");
	return r->dtype ? 0 : -1;
}

/* Sets shape and strides of what array_alloc() made for them. */
static int request_fill(const struct request *r, struct array *array, PyObject *shape,
			Py_ssize_t limit)
{
	PyObject *strides;
	int err;

	if (shape)
		err = numbers_from(shape, array->shape);
	else
		err = (array->shape[0] = (limit - r->offset) / item_size(array)) < 0;
	if (!err)
		err = array_check_shape(array);
	if (err)
		return PyErr_Occurred() ? -1 : check_bounds(array, r->offset, limit);
	array_set_dense(array);
	if (r->strides) {
		strides = tuple_of(r->strides);
		if (strides && PyTuple_Size(strides) != array->ndim) {
			PyErr_SetString(PyExc_ValueError, "shape and strides differ in length");
			Py_CLEAR(strides);
		}
		err = !strides || numbers_from(strides, array->strides);
		Py_XDECREF(strides);
		if (err)
			return -1;
	}
	return check_bounds(array, r->offset, limit);
}

/* A view as Python asks for it. The block was pinned; undone on failure. */
PyObject *array_of_request(struct region *region, const struct arena_block *block,
			   PyObject *args, PyObject *kwargs)
{
	struct request r = { 0 };
	struct array *array = NULL;
	PyObject *shape = NULL;

	if (!request_parse(&r, args, kwargs)) {
		shape = r.shape ? tuple_of(r.shape) : NULL;
		if (!PyErr_Occurred())
			array = array_alloc(r.dtype, shape ? (int)PyTuple_Size(shape) : 1);
	}
	if (!array) {
		arena_unpin(&region->arena, block->handle);
	} else {
		own_pin(array, region, block);
		if (request_fill(&r, array, shape, (Py_ssize_t)block->requested))
			Py_CLEAR(array);
		else
			array->data += r.offset;
	}
	Py_XDECREF(shape);
	return (PyObject *)array;
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
		.len = array_count(array) * item_size(array),
		.itemsize = item_size(array),
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
	if ((flags & PyBUF_ND) != PyBUF_ND)
		view->shape = NULL;
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
	return PyLong_FromSsize_t(array_count(array) * item_size(array));
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
	{ "readonly", T_BOOL, offsetof(struct array, read_only), READONLY, NULL },
	{ "ndim", T_INT, offsetof(struct array, ndim), READONLY, NULL },
	{ 0 },
};

static PyMethodDef array_methods[] = {
	{ "__dlpack__", (PyCFunction)(void (*)(void))array_to_dlpack,
	  METH_VARARGS | METH_KEYWORDS, NULL },
	{ "__dlpack_device__", array_dlpack_device, METH_NOARGS, NULL },
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
