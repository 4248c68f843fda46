// SPDX-License-Identifier: MIT
/*
 * block.c - Block: a handle as an object. It knows nothing of its own but the
 * handle: whether that is still live, the arena says each time.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "types.h"

#define MADV_WRITE_POPULATE	23	/* MADV_POPULATE_WRITE, of Linux 5.14 */

PyTypeObject *block_type;

PyObject *block_new(struct region *region, uint64_t handle, bool owner)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(block_type, Py_tp_alloc);
	struct block *block = (struct block *)alloc(block_type, 0);

	if (!block)
		return NULL;
	Py_INCREF((PyObject *)region);
	block->region = region;
	block->handle = handle;
	block->owner = owner;
	return (PyObject *)block;
}

static int block_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct block *)self)->region);
	Py_VISIT(((struct block *)self)->kept);
	return 0;
}

static void block_dealloc(PyObject *self)
{
	struct block *block = (struct block *)self;
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	PyObject_GC_UnTrack(self);
	if (block->weak)
		PyObject_ClearWeakRefs(self);
	if (block->owner)
		arena_drop(&block->region->arena, block->handle, true);
	Py_XDECREF(block->kept);
	Py_XDECREF((PyObject *)block->region);
	release(self);
	Py_DECREF(type);
}

/* What the handle stands for; -1 with ValueError where it is freed. */
static int block_look(PyObject *self, struct arena_block *info)
{
	struct block *block = (struct block *)self;
	int err = arena_find(&block->region->arena, block->handle, info);

	if (err == -ENOENT)
		PyErr_SetString(PyExc_ValueError, "the block is freed");
	else if (err)
		raise_errno(err, NULL);
	return err ? -1 : 0;
}

/*
 * The end
 */

static PyObject *finished(struct block *block, int err)
{
	PyObject *key;

	if (!err)
		Py_RETURN_NONE;
	key = PyLong_FromUnsignedLongLong(block->handle);
	if (key)
		raise_errno(err, key);
	Py_XDECREF(key);
	return NULL;
}

static PyObject *block_free(PyObject *self, PyObject *unused)
{
	struct block *block = (struct block *)self;

	(void)unused;
	return finished(block, arena_free(&block->region->arena, block->handle));
}

static PyObject *block_release(PyObject *self, PyObject *unused)
{
	struct block *block = (struct block *)self;

	(void)unused;
	return finished(block, arena_release(&block->region->arena, block->handle));
}

static PyObject *block_enter(PyObject *self, PyObject *unused)
{
	struct arena_block info;

	(void)unused;
	return block_look(self, &info) ? NULL : Py_NewRef(self);
}

/* As region_exit(): after an exception, views do not hide it. */
static PyObject *block_exit(PyObject *self, PyObject *args)
{
	struct block *block = (struct block *)self;
	PyObject *type = NULL, *value, *traceback;
	int err;

	if (!PyArg_UnpackTuple(args, "__exit__", 0, 3, &type, &value, &traceback))
		return NULL;
	err = arena_drop(&block->region->arena, block->handle, type && type != Py_None);
	/* freed in the body, with its region, or to be by the parent of a child: well done */
	if (err == -ENOENT || err == -ESHUTDOWN || err == -EPERM)
		err = 0;
	return finished(block, err);
}

/*
 * Views
 */

static int pin_block(PyObject *self, struct arena_block *info)
{
	struct block *block = (struct block *)self;
	int err = arena_pin(&block->region->arena, block->handle, info);

	if (err == -ENOENT)
		PyErr_SetString(PyExc_ValueError, "the block is freed");
	else if (err)
		raise_errno(err, NULL);
	return err ? -1 : 0;
}

static PyObject *block_view(PyObject *self, PyObject *args, PyObject *kwargs)
{
	struct arena_block info;

	if (pin_block(self, &info))
		return NULL;
	return array_of_request(((struct block *)self)->region, &info, args, kwargs);
}

/* The bytes, as an Array that is the pin. */
static PyObject *bytes_of(PyObject *self)
{
	struct arena_block info;

	if (pin_block(self, &info))
		return NULL;
	return array_of_pin(((struct block *)self)->region, &info);
}

/*
 * The buffer is that of an Array made for it: it lasts as long as view->obj.
 *
 * ndarray(buffer=block) ends its buffer at once, keeps the block, and reaches the bytes
 * for as long as it lives. Nothing tells us so but what it asks for: a shape without a
 * format, where those who look into a buffer (memoryview and all that uses it) ask for
 * both, and those who copy bytes for neither. So who asks like that finds the Array kept
 * until the block's object ends, whoever it is.
 */
static int block_buffer(PyObject *self, Py_buffer *view, int flags)
{
	struct block *block = (struct block *)self;
	PyObject *array = bytes_of(self);
	int err;

	view->obj = NULL;
	if (!array)
		return -1;
	err = array_buffer(array, view, flags);
	if (!err && flags & PyBUF_ND && !(flags & PyBUF_FORMAT) && !block->kept)
		block->kept = Py_NewRef(array);
	Py_DECREF(array);
	return err;
}

/*
 * Never called, for view->obj is another object. But that it is there tells NumPy's
 * frombuffer() to keep the buffer instead of the block alone.
 */
static void block_buffer_end(PyObject *self, Py_buffer *view)
{
	(void)self;
	(void)view;
}

static PyObject *block_numpy(PyObject *self, PyObject *args, PyObject *kwargs)
{
	PyObject *array = block_view(self, args, kwargs);
	PyObject *numpy = array ? PyImport_ImportModule("numpy") : NULL;
	PyObject *result = numpy ? PyObject_CallMethod(numpy, "asarray", "O", array) : NULL;

	Py_XDECREF(numpy);
	Py_XDECREF(array);
	return result;
}

static PyObject *block_dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
	PyObject *array = bytes_of(self);
	PyObject *capsule = array ? array_to_dlpack(array, args, kwargs) : NULL;

	Py_XDECREF(array);
	return capsule;
}

static PyObject *block_populate(PyObject *self, PyObject *unused)
{
	struct block *block = (struct block *)self;
	struct arena *arena = &block->region->arena;
	struct arena_block info;
	uintptr_t start, end;
	int err;

	(void)unused;
	if (pin_block(self, &info))
		return NULL;
	start = (uintptr_t)block->region->memory.base + ((uintptr_t)info.offset << arena->shift);
	end = start + ((uintptr_t)info.size << arena->shift);
	start &= ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	Py_BEGIN_ALLOW_THREADS
	err = madvise((void *)start, end - start, MADV_WRITE_POPULATE) ? -errno : 0;
	Py_END_ALLOW_THREADS
	arena_unpin(arena, block->handle);
	if (err == -EINVAL) {
		PyErr_SetString(PyExc_NotImplementedError,
				"this kernel has no MADV_POPULATE_WRITE: populate() takes Linux 5.14");
		return NULL;
	}
	return err ? raise_system(err) : Py_NewRef(Py_None);
}

/*
 * What it is
 */

static PyObject *get_address(PyObject *self, void *unused)
{
	struct region *region = ((struct block *)self)->region;
	struct arena_block info;

	(void)unused;
	if (block_look(self, &info))
		return NULL;
	return PyLong_FromVoidPtr(region->memory.base +
				  ((uint64_t)info.offset << region->arena.shift));
}

static PyObject *get_nbytes(PyObject *self, void *unused)
{
	struct arena_block info;

	(void)unused;
	return block_look(self, &info) ? NULL :
	       PyLong_FromUnsignedLongLong(info.requested);
}

static PyObject *get_capacity(PyObject *self, void *unused)
{
	struct arena *arena = &((struct block *)self)->region->arena;
	struct arena_block info;

	(void)unused;
	return block_look(self, &info) ? NULL :
	       PyLong_FromUnsignedLongLong((uint64_t)info.size << arena->shift);
}

static int block_is_live(PyObject *self)
{
	struct block *block = (struct block *)self;
	struct arena_block info;
	int err = arena_find(&block->region->arena, block->handle, &info);

	return err != -ENOENT && err != -ESHUTDOWN;
}

static PyObject *get_freed(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!block_is_live(self));
}

static Py_ssize_t block_length(PyObject *self)
{
	struct arena_block info;

	return block_look(self, &info) ? -1 : (Py_ssize_t)info.requested;
}

static PyObject *block_repr(PyObject *self)
{
	struct block *block = (struct block *)self;
	struct arena_block info;
	int err = arena_find(&block->region->arena, block->handle, &info);

	if (err)
		return PyUnicode_FromFormat(err == -EPERM ? "<block %llu, of a parent>" :
							    "<block %llu, freed>",
					    (unsigned long long)block->handle);
	return PyUnicode_FromFormat("<block %llu, %llu bytes>",
				    (unsigned long long)block->handle,
				    (unsigned long long)info.requested);
}

static PyGetSetDef block_getset[] = {
	{ "address", get_address, NULL, "of its first byte", NULL },
	{ "nbytes", get_nbytes, NULL, "bytes asked for", NULL },
	{ "capacity", get_capacity, NULL, "bytes that it has", NULL },
	{ "freed", get_freed, NULL, "it is no more", NULL },
	{ 0 },
};

static PyMemberDef block_members[] = {
	WEAK(struct block),
	{ "handle", T_ULONGLONG, offsetof(struct block, handle), READONLY, "its number" },
	{ "region", T_OBJECT_EX, offsetof(struct block, region), READONLY, "its region" },
	{ 0 },
};

static PyMethodDef block_methods[] = {
	{ "free", block_free, METH_NOARGS, "free($self, /)\n--\n\nGive it back; KeyError, BufferError while there are views." },
	{ "release", block_release, METH_NOARGS, "release($self, /)\n--\n\nGive it back when the last view is gone; KeyError." },
	{ "view", WITH_KEYWORDS(block_view), METH_VARARGS | METH_KEYWORDS,
	  "view($self, /, dtype='uint8', shape=None, *, strides=None, offset=0)\n--\n\nIts bytes as an Array; strides in bytes." },
	{ "numpy", WITH_KEYWORDS(block_numpy), METH_VARARGS | METH_KEYWORDS,
	  "numpy($self, /, dtype='uint8', shape=None, *, strides=None, offset=0)\n--\n\nAs view(), an ndarray." },
	{ "populate", block_populate, METH_NOARGS, "populate($self, /)\n--\n\nHave all its pages there now." },
	{ "__dlpack__", WITH_KEYWORDS(block_dlpack), METH_VARARGS | METH_KEYWORDS, DLPACK_DOC },
	{ "__dlpack_device__", array_dlpack_device, METH_NOARGS, NULL },
	{ "__enter__", block_enter, METH_NOARGS, NULL },
	{ "__exit__", block_exit, METH_VARARGS, NULL },
	{ "__reduce__", raise_no_pickle, METH_NOARGS, NULL },
	{ 0 },
};

static PyType_Slot block_slots[] = {
	{ Py_tp_doc, "bytes of a Region; made by its alloc() and block()" },
	{ Py_tp_dealloc, block_dealloc },
	{ Py_tp_traverse, block_traverse },
	{ Py_tp_repr, block_repr },
	{ Py_tp_methods, block_methods },
	{ Py_tp_getset, block_getset },
	{ Py_tp_members, block_members },
	{ Py_mp_length, block_length },
	{ Py_nb_bool, block_is_live },
	{ Py_bf_getbuffer, block_buffer },
	{ Py_bf_releasebuffer, block_buffer_end },
	{ 0 },
};

static PyType_Spec block_spec = {
	.name = "buddy_mem.Block",
	.basicsize = sizeof(struct block),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = block_slots,
};

int block_add(PyObject *module)
{
	if (!block_type)
		block_type = (PyTypeObject *)PyType_FromSpec(&block_spec);
	return block_type ? PyModule_AddObjectRef(module, "Block",
						  (PyObject *)block_type) : -1;
}
