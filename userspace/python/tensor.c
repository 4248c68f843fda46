// SPDX-License-Identifier: MIT
/*
 * tensor.c - DLPack, both ways: Arrays for others, and Arrays of what others have.
 *
 * A capsule that nobody took ends its export itself, under the interpreter's lock. Who
 * took it calls our deleter, from wherever that ends: so the deleter takes the lock.
 */
#include <stdlib.h>

#include "types.h"

#define LEGACY		"dltensor"
#define VERSIONED	"dltensor_versioned"

/*
 * For others
 */

/* Both kinds of struct, and the numbers they point to. */
struct export {
	union {
		struct dl_legacy legacy;
		struct dl_versioned versioned;
	};
	PyObject *array;
	int64_t numbers[];
};

static void export_end(struct export *export)
{
	Py_DECREF(export->array);
	free(export);
}

static void taker_ends(struct export *export)
{
	PyGILState_STATE state;

	/* without an interpreter there is nobody to give the array back to */
	if (!Py_IsInitialized()) {
		free(export);
		return;
	}
	state = PyGILState_Ensure();
	export_end(export);
	PyGILState_Release(state);
}

static void delete_legacy(struct dl_legacy *self)
{
	taker_ends(self->manager);
}

static void delete_versioned(struct dl_versioned *self)
{
	taker_ends(self->manager);
}

/* Under another name it was taken. Both structs are the first of their export. */
static void capsule_end(PyObject *capsule)
{
	const char *name = PyCapsule_IsValid(capsule, LEGACY) ? LEGACY : VERSIONED;

	if (PyCapsule_IsValid(capsule, name))
		export_end(PyCapsule_GetPointer(capsule, name));
}

/*
 * PyTorch, 1.13 to 2.12 at least, ends the process in std::terminate() if a stride is
 * negative, and nothing tells which consumer asks. The stride of a single element has no
 * meaning.
 */
static int stride_from(struct array *array, int i, int64_t *stride)
{
	int size = array->dtype->bits / 8;

	if (array->strides[i] % size) {
		PyErr_SetString(PyExc_BufferError,
				"strides are no multiples of the element's size");
		return -1;
	}
	*stride = array->strides[i] / size;
	if (*stride < 0 && array->shape[i] > 1) {
		PyErr_SetString(PyExc_BufferError,
				"negative strides, on which PyTorch aborts: use np.asarray(), or copy");
		return -1;
	}
	if (*stride < 0)
		*stride = 1;
	return 0;
}

static int fill_tensor(struct array *array, struct dl_tensor *tensor, int64_t *numbers)
{
	*tensor = (struct dl_tensor){
		.data = array->data,
		.device = { DL_CPU, 0 },
		.ndim = array->ndim,
		.dtype = { array->dtype->code, array->dtype->bits, 1 },
		.shape = numbers,
		.strides = numbers + array->ndim,
	};
	for (int i = 0; i < array->ndim; i++) {
		tensor->shape[i] = array->shape[i];
		if (stride_from(array, i, &tensor->strides[i]))
			return -1;
	}
	return 0;
}

static PyObject *export_new(struct array *array, bool versioned)
{
	struct export *export = calloc(1, sizeof(*export) +
					  (size_t)array->ndim * 2 * sizeof(int64_t));
	PyObject *capsule;

	if (!export)
		return PyErr_NoMemory();
	if (fill_tensor(array, versioned ? &export->versioned.tensor :
					   &export->legacy.tensor, export->numbers)) {
		free(export);
		return NULL;
	}
	if (versioned) {
		export->versioned.version.major = 1;
		export->versioned.manager = export;
		export->versioned.deleter = delete_versioned;
		export->versioned.flags = array->read_only ? DL_READ_ONLY : 0;
	} else {
		export->legacy.manager = export;
		export->legacy.deleter = delete_legacy;
	}
	export->array = Py_NewRef((PyObject *)array);
	capsule = PyCapsule_New(export, versioned ? VERSIONED : LEGACY, capsule_end);
	if (!capsule)
		export_end(export);
	return capsule;
}

static PyObject *refuse(const char *text)
{
	PyErr_SetString(PyExc_BufferError, text);
	return NULL;
}

/* __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None) */
PyObject *array_to_dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "stream", "max_version", "dl_device", "copy", NULL };
	PyObject *stream = Py_None, *version = Py_None, *device = Py_None;
	PyObject *copy = Py_None;
	struct array *array = (struct array *)self;
	long major = 0, minor = 0, type = DL_CPU, id = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", names,
					 &stream, &version, &device, &copy))
		return NULL;
	if (version != Py_None && !PyArg_Parse(version, "(ll)", &major, &minor))
		return NULL;
	if (device != Py_None && !PyArg_Parse(device, "(ll)", &type, &id))
		return NULL;
	if (stream != Py_None)
		return refuse("memory of the host has no streams");
	if (type != DL_CPU || id)
		return refuse("memory of the host, device (1, 0), alone");
	if (copy == Py_True)
		return refuse("copy=True is not supported: copy what you get");
	if (array->read_only && major < 1)
		return refuse("read-only, which DLPack can say from version 1.0 on");
	return export_new(array, major >= 1);
}

PyObject *array_dlpack_device(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	return Py_BuildValue("(ii)", DL_CPU, 0);
}

/*
 * Of others
 */

void array_drop_foreign(struct array *array)
{
	struct dl_legacy *legacy = array->foreign;
	struct dl_versioned *versioned = array->foreign;

	if (array->keeper == KEEPER_LEGACY && legacy->deleter)
		legacy->deleter(legacy);
	else if (array->keeper == KEEPER_VERSIONED && versioned->deleter)
		versioned->deleter(versioned);
	array->foreign = NULL;
}

static struct array *array_of_tensor(const struct dl_tensor *tensor)
{
	struct layout layout = { .dtype = dtype_coded(tensor->dtype), .ndim = tensor->ndim };

	if (tensor->device.type != DL_CPU && tensor->device.type != DL_CUDA_HOST) {
		refuse("it is not in memory of the host");
		return NULL;
	}
	if (!layout.dtype || tensor->ndim < 0 || tensor->ndim > DIMENSIONS) {
		refuse("a kind of numbers, or of dimensions, that is unknown here");
		return NULL;
	}
	for (int i = 0; i < tensor->ndim; i++)
		layout.shape[i] = (Py_ssize_t)tensor->shape[i];
	if (layout_check(&layout))
		return NULL;
	layout_set_dense(&layout);
	for (int i = 0; i < tensor->ndim && tensor->strides; i++)
		layout.strides[i] = (Py_ssize_t)tensor->strides[i] * (layout.dtype->bits / 8);
	return array_new(&layout, (char *)tensor->data + tensor->byte_offset);
}

static PyObject *take(PyObject *capsule)
{
	bool versioned = PyCapsule_IsValid(capsule, VERSIONED);
	struct dl_versioned *v;
	void *p;
	struct array *array;

	if (!PyCapsule_CheckExact(capsule)) {
		PyErr_Format(PyExc_TypeError, "__dlpack__() gave %R, no capsule", capsule);
		return NULL;
	}
	p = PyCapsule_GetPointer(capsule, versioned ? VERSIONED : LEGACY);
	if (!p)
		return NULL;
	v = p;
	if (versioned && v->version.major != 1)
		return refuse("a DLPack of a version that is unknown here");
	array = array_of_tensor(versioned ? &v->tensor : &((struct dl_legacy *)p)->tensor);
	if (!array)
		return NULL;
	if (PyCapsule_SetName(capsule, versioned ? "used_" VERSIONED : "used_" LEGACY)) {
		Py_DECREF((PyObject *)array);
		return NULL;
	}
	array->keeper = versioned ? KEEPER_VERSIONED : KEEPER_LEGACY;
	array->foreign = p;
	array->read_only = versioned && v->flags & DL_READ_ONLY;
	return (PyObject *)array;
}

/* The newer call first; who does not know max_version raises TypeError. */
static PyObject *capsule_of(PyObject *object)
{
	PyObject *method = PyObject_GetAttrString(object, "__dlpack__");
	PyObject *none = method ? PyTuple_New(0) : NULL;
	PyObject *keywords = none ? Py_BuildValue("{s:(ii)}", "max_version", 1, 0) : NULL;
	PyObject *capsule = keywords ? PyObject_Call(method, none, keywords) : NULL;

	if (keywords && !capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
		PyErr_Clear();
		capsule = PyObject_CallNoArgs(method);
	}
	Py_XDECREF(keywords);
	Py_XDECREF(none);
	Py_XDECREF(method);
	return capsule;
}

PyObject *from_dlpack(PyObject *module, PyObject *object)
{
	PyObject *capsule, *array;

	(void)module;
	capsule = PyCapsule_CheckExact(object) ? Py_NewRef(object) : capsule_of(object);
	if (!capsule)
		return NULL;
	array = take(capsule);
	Py_DECREF(capsule);
	return array;
}
