// SPDX-License-Identifier: MIT
/*
 * region.c - Region: opening and closing, and the newer calls, which give Blocks.
 */
#include <string.h>
#include <unistd.h>

#include "types.h"

PyTypeObject *region_type;

/*
 * Opening
 */

static int backend_from(const char *name, enum buddy_backend *backend)
{
	static const char *const names[] = { "", "auto", "device", "process" };

	*backend = BUDDY_BACKEND_DEFAULT;
	for (int i = 1; name && i < 4; i++)
		if (!strcmp(name, names[i]))
			*backend = (enum buddy_backend)i;
	if (!name || *backend != BUDDY_BACKEND_DEFAULT)
		return 0;
	PyErr_Format(PyExc_ValueError,
		     "backend must be 'auto', 'device', 'process' or None, not '%s'", name);
	return -1;
}

/* Too little memory in the region, or too small a one, is MemoryError; a limit is not. */
static int raise_open(int err, const struct memory_request *request)
{
	if (err == -EFBIG || (err == -ENOMEM && !request->mapping))
		raise_library_as(PyExc_MemoryError);
	else if (err == -EINVAL)
		raise_library_as(PyExc_ValueError);
	else
		raise_library(err);
	return -1;
}

static PyObject *region_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	PyObject *self = alloc(type, 0);

	(void)args;
	(void)kwargs;
	if (self)
		arena_init(&((struct region *)self)->arena);
	return self;
}


static int check_open(const struct region *region, uint64_t size, uint64_t granule)
{
	if (region->opened)
		PyErr_SetString(PyExc_RuntimeError, "it was opened before");
	else if (size / granule > BUDDY_CORE_MAX_GRANULES)
		PyErr_SetString(PyExc_ValueError,
				"more than 2**31 granules: take larger ones");
	else
		return 0;
	return -1;
}

struct keywords {
	const char *backend;
	PyObject *path;		/* bytes, or NULL */
	int scatter;
	int alone;
};

static int keywords_from(PyObject *kwargs, struct keywords *k)
{
	static char *names[] = { "backend", "path", "scatter", "alone", NULL };
	PyObject *path = Py_None, *none = PyTuple_New(0);
	int ok = none && PyArg_ParseTupleAndKeywords(none, kwargs, "|$zOpp:Region", names,
						     &k->backend, &path, &k->scatter,
						     &k->alone);

	Py_XDECREF(none);
	return ok && (path == Py_None || PyUnicode_FSConverter(path, &k->path)) ? 0 : -1;
}

/*
 * The rest of each __init__: keywords, memory, arena. Until the arena is there all
 * calls find the region closed, also those of other threads meanwhile.
 */
int region_open(struct region *region, uint64_t size, uint64_t granule,
		PyObject *kwargs)
{
	struct memory_request request = { .size = size };
	struct memory memory = { 0 };
	struct keywords k = { 0 };
	uint32_t shift = (uint32_t)__builtin_ctzll(granule);
	int err, books;

	if (keywords_from(kwargs, &k))
		return -1;
	if (backend_from(k.backend, &request.backend) || check_open(region, size, granule)) {
		Py_XDECREF(k.path);
		return -1;
	}
	request.path = k.path ? PyBytes_AsString(k.path) : NULL;
	request.flags = (k.scatter ? BUDDY_ALLOC_SCATTER : 0) |
			(k.alone ? BUDDY_ALLOC_ALONE : 0);
	region->opened = true;
	Py_BEGIN_ALLOW_THREADS
	err = memory_open(&memory, &request);
	/* an arena over it, not open yet */
	books = err ? 0 : arena_fill(&region->arena, size >> shift, shift);
	if (books)
		memory_close(&memory);
	Py_END_ALLOW_THREADS
	Py_XDECREF(k.path);
	if (err || books)
		region->opened = false;
	if (err)
		return raise_open(err, &request);
	if (books) {
		raise_system(books);
		return -1;
	}
	region->size = size;
	region->granule = granule;
	region->memory = memory;
	arena_open(&region->arena);
	return 0;
}

/* What is below a page takes one in any case. */
static int check_granule(uint64_t size, uint64_t granule)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (granule > size && granule > page)
		PyErr_SetString(PyExc_ValueError, "granule must not be above size");
	else if (granule & (granule - 1))
		PyErr_SetString(PyExc_ValueError, "granule must be a power of two");
	else
		return 0;
	return -1;
}

static int init_with(struct region *region, PyObject *size_arg, PyObject *granule_arg,
		     PyObject *rest)
{
	uint64_t size, granule = 64;

	if (!size_arg) {
		PyErr_SetString(PyExc_TypeError, "size is missing");
		return -1;
	}
	if (size_from(size_arg, "size", &size) ||
	    (granule_arg && bytes_from(granule_arg, "granule", &granule)) ||
	    check_granule(size, granule))
		return -1;
	size = (size + granule - 1) & ~(granule - 1);
	return region_open(region, size, granule, rest);
}

int region_init_as(PyObject *self, PyObject *args, PyObject *kwargs,
		   const struct initializer *how)
{
	PyObject *first = NULL, *second = NULL, *rest;
	int err = -1;

	if (!PyArg_UnpackTuple(args, how->type, 0, how->places, &first, &second))
		return -1;
	Py_XINCREF(first);
	Py_XINCREF(second);
	rest = kwargs ? PyDict_Copy(kwargs) : PyDict_New();
	if (rest && !take_keyword(rest, how->names[0], &first) &&
	    !take_keyword(rest, how->names[1], &second))
		err = how->init((struct region *)self, first, second, rest);
	Py_XDECREF(rest);
	Py_XDECREF(first);
	Py_XDECREF(second);
	return err;
}

static int region_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static const struct initializer how = {
		"Region", { "size", "granule" }, 1, init_with,
	};

	return region_init_as(self, args, kwargs, &how);
}

/*
 * Closing
 */

static int close_region(struct region *region)
{
	struct memory memory = region->memory;
	int err = arena_close(&region->arena);

	if (err == -ESHUTDOWN)
		return 0;
	if (err) {
		raise_errno(err, NULL);
		return -1;
	}
	/* nobody finds what is about to go */
	region->memory = (struct memory){ 0 };
	Py_BEGIN_ALLOW_THREADS
	memory_close(&memory);
	arena_fini(&region->arena);
	Py_END_ALLOW_THREADS
	return 0;
}

static PyObject *region_close(PyObject *self, PyObject *unused)
{
	(void)unused;
	if (close_region((struct region *)self))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *region_enter(PyObject *self, PyObject *unused)
{
	int err = arena_check(&((struct region *)self)->arena);

	(void)unused;
	return err ? raise_errno(err, NULL) : Py_NewRef(self);
}

/*
 * What went wrong in the body matters more than the views that its frames still
 * have: then the region is closed when they are gone.
 */
static PyObject *region_exit(PyObject *self, PyObject *args)
{
	struct region *region = (struct region *)self;
	PyObject *type = NULL, *value, *traceback;

	if (!PyArg_UnpackTuple(args, "__exit__", 0, 3, &type, &value, &traceback))
		return NULL;
	/* a child of fork() has nothing to close: it is its parent's */
	if (arena_check(&region->arena) != -EPERM && close_region(region)) {
		if (!type || type == Py_None || !PyErr_ExceptionMatches(PyExc_BufferError))
			return NULL;
		PyErr_Clear();
	}
	Py_RETURN_NONE;
}

static void region_dealloc(PyObject *self)
{
	struct region *region = (struct region *)self;
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	bool forget = arena_check(&region->arena) == -EPERM;

	if (region->weak)
		PyObject_ClearWeakRefs(self);
	/* nobody else has it any more */
	Py_BEGIN_ALLOW_THREADS
	if (forget)
		memory_forget(&region->memory);
	else if (region->memory.dev)
		memory_close(&region->memory);
	arena_fini(&region->arena);
	Py_END_ALLOW_THREADS
	release(self);
	Py_DECREF(type);
}

/*
 * The newer calls
 */

static int align_from(struct region *region, PyObject *object, uint64_t *align)
{
	if (bytes_from(object, "align", align))
		return -1;
	if (!region->memory.align)
		raise_errno(-ESHUTDOWN, NULL);
	else if (*align > region->memory.align)
		PyErr_Format(PyExc_ValueError,
			     "align is above the %llu that this region has",
			     (unsigned long long)region->memory.align);
	else if (*align & (*align - 1))
		PyErr_SetString(PyExc_ValueError, "align must be a power of two");
	else
		return 0;
	return -1;
}

/* Pinned meanwhile: the region must not be closed under memset(). */
static int clear_block(struct region *region, const struct arena_block *block)
{
	struct arena_block pinned;
	int err = arena_pin(&region->arena, block->handle, &pinned);

	if (err)
		return err;
	Py_BEGIN_ALLOW_THREADS
	memset(region->memory.base + ((uint64_t)block->offset << region->arena.shift), 0,
	       block->requested);
	Py_END_ALLOW_THREADS
	arena_unpin(&region->arena, block->handle);
	return 0;
}

static PyObject *region_alloc(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "size", "align", "zero", NULL };
	struct region *region = (struct region *)self;
	PyObject *size_arg, *align_arg = NULL, *result;
	uint64_t bytes, align = 0;
	struct arena_block block;
	int zero = 0, err;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$Op:alloc", names, &size_arg,
					 &align_arg, &zero) ||
	    bytes_from(size_arg, "size", &bytes))
		return NULL;
	if (align_arg && align_arg != Py_None && align_from(region, align_arg, &align))
		return NULL;
	err = arena_alloc_exact(&region->arena, bytes, align, &block);
	if (err == -ENOMEM)
		return raise_no_memory(region, size_arg);
	if (!err && zero)
		err = clear_block(region, &block);
	if (err)
		return raise_errno(err, NULL);
	result = block_new(region, block.handle, true);
	if (!result)
		arena_free(&region->arena, block.handle);
	return result;
}

static PyObject *region_block(PyObject *self, PyObject *const *args, Py_ssize_t count,
			      PyObject *names)
{
	struct region *region = (struct region *)self;
	PyObject *key = argument(args, count, names, "handle");
	struct arena_block block;
	uint64_t handle;
	int err;

	if (!key || handle_from(key, &handle))
		return NULL;
	err = arena_find(&region->arena, handle, &block);
	return err ? raise_errno(err, key) : block_new(region, handle, false);
}

static PyObject *region_free(PyObject *self, PyObject *const *args, Py_ssize_t count,
			     PyObject *names)
{
	PyObject *key = argument(args, count, names, "handle");
	uint64_t handle;
	int err;

	if (!key || handle_from(key, &handle))
		return NULL;
	err = arena_free(&((struct region *)self)->arena, handle);
	if (err)
		return raise_errno(err, key);
	Py_RETURN_NONE;
}

static PyObject *region_verify(PyObject *self, PyObject *unused)
{
	const char *broken = arena_verify(&((struct region *)self)->arena);

	(void)unused;
	return broken ? PyUnicode_FromString(broken) : Py_NewRef(Py_None);
}

/*
 * What it is
 */

static PyObject *get_closed(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(arena_check(&((struct region *)self)->arena) ==
			       -ESHUTDOWN);
}

static PyObject *get_backend(PyObject *self, void *unused)
{
	struct region *region = (struct region *)self;

	(void)unused;
	return region->memory.dev ? PyUnicode_FromString(buddy_dev_backend(region->memory.dev)) :
			     Py_NewRef(Py_None);
}

static PyObject *get_address(PyObject *self, void *unused)
{
	struct region *region = (struct region *)self;

	(void)unused;
	return region->memory.base ? PyLong_FromVoidPtr(region->memory.base) :
			      raise_errno(-ESHUTDOWN, NULL);
}

static PyObject *get_alignment(PyObject *self, void *unused)
{
	struct region *region = (struct region *)self;

	(void)unused;
	return region->memory.base ? PyLong_FromUnsignedLongLong(region->memory.align) :
				     raise_errno(-ESHUTDOWN, NULL);
}

static PyObject *get_feature(PyObject *self, void *bit)
{
	return PyBool_FromLong((((struct region *)self)->memory.features &
				(uint64_t)(uintptr_t)bit) != 0);
}

static PyObject *region_repr(PyObject *self)
{
	struct region *region = (struct region *)self;
	struct arena_view v;

	if (!region->memory.dev)
		return PyUnicode_FromString("<region, closed>");
	arena_look(&region->arena, &v);
	return PyUnicode_FromFormat("<region of %llu bytes, %s, %llu free, %llu blocks>",
				    (unsigned long long)region->size,
				    buddy_dev_backend(region->memory.dev),
				    (unsigned long long)v.free << region->arena.shift,
				    (unsigned long long)(v.count - v.gone));
}

static PyGetSetDef region_getset[] = {
	{ "closed", get_closed, NULL, "no call succeeds any more", NULL },
	{ "backend", get_backend, NULL, "'device' or 'process'; None once closed", NULL },
	{ "address", get_address, NULL, "of its first byte in this process", NULL },
	{ "alignment", get_alignment, NULL, "the largest align that alloc() can give", NULL },
	{ "contiguous", get_feature, NULL, "the device's blocks are one physical range",
	  (void *)BUDDY_FEATURE_CONTIGUOUS },
	{ "huge", get_feature, NULL, "the device's blocks are mapped by 2 MiB pages",
	  (void *)BUDDY_FEATURE_HUGE },
	{ 0 },
};

static PyMemberDef region_members[] = {
	WEAK(struct region),
	{ "size", T_ULONGLONG, offsetof(struct region, size), READONLY, "bytes" },
	{ "granule", T_ULONGLONG, offsetof(struct region, granule), READONLY,
	  "lengths are rounded up to a multiple of it" },
	{ 0 },
};

static PyMethodDef region_methods[] = {
	{ "alloc", WITH_KEYWORDS(region_alloc), METH_VARARGS | METH_KEYWORDS,
	  "alloc($self, /, size, *, align=None, zero=False)\n--\n\nA Block; MemoryError." },
	{ "block", WITH_KEYWORDS(region_block), ONE, "block($self, /, handle)\n--\n\nIts Block; KeyError." },
	{ "free", WITH_KEYWORDS(region_free), ONE, "free($self, /, handle)\n--\n\nGive it back; KeyError, BufferError." },
	{ "get_statistics", region_statistics, METH_NOARGS, "get_statistics($self, /)\n--\n\nA dict; docs/python.md has its keys." },
	{ "reset_statistics", region_reset, METH_NOARGS, "reset_statistics($self, /)\n--\n\nCounters and times are 0." },
	{ "share", WITH_KEYWORDS(region_share), METH_VARARGS | METH_KEYWORDS,
	  "share($self, /, *, read_only=False)\n--\n\nA descriptor of all of it, for other processes." },
	{ "close", region_close, METH_NOARGS, "close($self, /)\n--\n\nGive all of it back; BufferError while there are views." },
	{ "__enter__", region_enter, METH_NOARGS, NULL },
	{ "__exit__", region_exit, METH_VARARGS, NULL },
	{ "__reduce__", raise_no_pickle, METH_NOARGS, NULL },
	{ "_verify", region_verify, METH_NOARGS, "_verify($self, /)\n--\n\nNone, or what is broken; for tests." },
	{ 0 },
};

static PyType_Slot region_slots[] = {
	{ Py_tp_doc, "Region(size, *, granule=64, backend=None, path=None, scatter=False, alone=False)\n--\n\n"
		      "Memory of /dev/buddy or of this process, cut into Blocks by alloc()." },
	{ Py_tp_new, region_new },
	{ Py_tp_init, region_init },
	{ Py_tp_dealloc, region_dealloc },
	{ Py_tp_repr, region_repr },
	{ Py_tp_methods, region_methods },
	{ Py_tp_getset, region_getset },
	{ Py_tp_members, region_members },
	{ 0 },
};

static PyType_Spec region_spec = {
	.name = "buddy_mem.Region",
	.basicsize = sizeof(struct region),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = region_slots,
};

int region_add(PyObject *module)
{
	if (!region_type)
		region_type = (PyTypeObject *)PyType_FromSpec(&region_spec);
	return region_type ? PyModule_AddObjectRef(module, "Region",
						   (PyObject *)region_type) : -1;
}
