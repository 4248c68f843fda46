/* SPDX-License-Identifier: MIT */
/*
 * types.h - the types of buddy_mem._core, and what their files share.
 *
 *   Region          memory of a device, mapped, and an arena over it (region.c)
 *   BuddyAllocator  a Region with the calls of the original (allocator.c)
 *   Block           a handle of a Region in the newer calls (block.c)
 *   Array           typed bytes; each is one pin of its block (array.c)
 *
 * References: Block and Array keep their Region, never the other way round. All
 * that can reach the bytes (memoryview, ndarray, tensor, DLPack capsule) keeps an
 * Array, or a Block that keeps one. So bytes are given to somebody else only when
 * nothing of Python reaches them any more.
 *
 * Locking: an object is guarded by the interpreter's lock, its arena by the arena's
 * own. No call of Python is made while an arena is locked.
 */
#ifndef BUDDY_PYTHON_TYPES_H
#define BUDDY_PYTHON_TYPES_H

/*
 * One binary for 3.11 and all that follow. A free-threaded interpreter has no stable
 * ABI, and takes its lock for us: no module slot tells it not to.
 */
#if !defined(Py_GIL_DISABLED) && !defined(Py_LIMITED_API)
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <buddy_mem.h>

#include "arena.h"
#include "dlpack.h"

/* Made once, at import; the interpreter never unloads them. */
extern PyTypeObject *region_type, *allocator_type, *block_type, *array_type;

struct memory {
	struct buddy_dev *dev;
	struct buddy_block *block;
	char *base;		/* address of the arena's granule 0 */
	uint64_t align;		/* the base is a multiple of it; a power of two */
	uint64_t features;	/* BUDDY_FEATURE_* */
};

struct region {
	PyObject_HEAD
	struct arena arena;
	struct memory memory;	/* all NULL while it is closed */
	PyObject *weak;		/* references that do not keep it */
	uint64_t size;		/* bytes of the arena */
	uint64_t granule;
	bool opened;		/* once open, or being opened; for ever true */
};

struct block {
	PyObject_HEAD
	struct region *region;
	uint64_t handle;
	bool owner;		/* its end is the end of the handle */
	PyObject *kept;		/* an Array, or NULL: see block_buffer() */
	PyObject *weak;
};

struct dtype {
	const char *name;
	const char *format;	/* of the buffer protocol; NULL: it has none */
	const char *typestr;	/* of __array_interface__ */
	uint8_t code, bits;	/* of DLPack */
	const char *names;	/* other names, with a blank between two */
};

/* What an array does when it ends. */
enum keeper {
	KEEPER_PIN,		/* of @region, @handle */
	KEEPER_LEGACY,		/* a DLPack of others, in @foreign */
	KEEPER_VERSIONED,
	KEEPER_MAPPING,		/* munmap(@data, @handle) */
};

#define DIMENSIONS	64

/* What an array will be like. */
struct layout {
	const struct dtype *dtype;
	int ndim;
	Py_ssize_t shape[DIMENSIONS];
	Py_ssize_t strides[DIMENSIONS];	/* bytes */
};

struct array {
	PyObject_HEAD
	enum keeper keeper;
	struct region *region;
	uint64_t handle;
	void *foreign;
	char *data;
	const struct dtype *dtype;
	bool read_only;
	int ndim;
	Py_ssize_t *shape;	/* 2 * ndim numbers in one piece: shape, strides */
	Py_ssize_t *strides;	/* bytes */
	PyObject *weak;
};

#define WEAK(type) \
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(type, weak), READONLY, NULL }
#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

/*
 * region.c. An __init__ has two arguments of its own, both of which may be keywords, and
 * the first @places of which need none; @init gets them, NULL where one is not given, and
 * the other keywords.
 */
struct initializer {
	const char *type;
	const char *names[2];
	Py_ssize_t places;
	int (*init)(struct region *region, PyObject *first, PyObject *second, PyObject *rest);
};

int region_init_as(PyObject *self, PyObject *args, PyObject *kwargs,
		   const struct initializer *how);
int region_add(PyObject *module);
int region_open(struct region *region, uint64_t size, uint64_t granule,
		PyObject *kwargs);

/* memory.c: where a region's bytes come from, without Python */
struct memory_request {
	uint64_t size;
	enum buddy_backend backend;
	const char *path;	/* or NULL */
	uint32_t flags;
	bool mapping;		/* out: there is a block, and its mapping is what failed */
};
int memory_open(struct memory *memory, struct memory_request *request);
void memory_close(struct memory *memory);
void memory_forget(struct memory *memory);

/* statistics.c */
PyObject *region_statistics(PyObject *self, PyObject *unused);
PyObject *region_reset(PyObject *self, PyObject *unused);

/* allocator.c, block.c, array.c */
int allocator_add(PyObject *module);
int block_add(PyObject *module);
int array_add(PyObject *module);
PyObject *block_new(struct region *region, uint64_t handle, bool owner);

/* array.c: all return a new reference or NULL */
struct array *array_new(const struct layout *layout, char *data);
void layout_of_bytes(struct layout *layout, uint64_t bytes);
void layout_set_dense(struct layout *layout);
int layout_check(const struct layout *layout);
PyObject *array_of_pin(struct region *region, const struct arena_block *block);
PyObject *array_of_request(struct region *region, const struct arena_block *block,
			   PyObject *args, PyObject *kwargs);
int array_buffer(PyObject *self, Py_buffer *view, int flags);

/* dtype.c */
const struct dtype *dtype_named(const char *name);
const struct dtype *dtype_coded(struct dl_data_type type);
const struct dtype *dtype_of(PyObject *object);

/* tensor.c: DLPack */
#define DLPACK_DOC \
	"__dlpack__($self, /, *, stream=None, max_version=None, dl_device=None, copy=None)" \
	"\n--\n\nA capsule, legacy or versioned as max_version asks."
PyObject *array_to_dlpack(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *array_dlpack_device(PyObject *self, PyObject *unused);
PyObject *from_dlpack(PyObject *module, PyObject *object);
void array_drop_foreign(struct array *array);

/* share.c */
PyObject *region_share(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *open_shared(PyObject *module, PyObject *args, PyObject *kwargs);

/* errors.c */
PyObject *raise_system(int error);
PyObject *raise_library(int error);
PyObject *raise_library_as(PyObject *type);
PyObject *raise_errno(int error, PyObject *key);
PyObject *raise_no_pickle(PyObject *self, PyObject *unused);
PyObject *raise_no_memory(struct region *region, PyObject *size);

/* arguments.c */
#define TOO_MANY	((uint64_t)INT64_MAX)	/* bytes; no region has so many */
PyObject *argument_named(PyObject *const *args, Py_ssize_t count, PyObject *names,
			 const char *name);
/* A call of one argument, by place or by name: its flags, and the argument, borrowed. */
#define ONE		(METH_FASTCALL | METH_KEYWORDS)
static inline PyObject *argument(PyObject *const *args, Py_ssize_t count, PyObject *names,
				 const char *name)
{
	return count == 1 && !names ? args[0] : argument_named(args, count, names, name);
}

int take_keyword(PyObject *rest, const char *name, PyObject **value);
int handle_from(PyObject *object, uint64_t *handle);
int bytes_from(PyObject *object, const char *what, uint64_t *bytes);
int size_from(PyObject *object, const char *what, uint64_t *bytes);

#endif /* BUDDY_PYTHON_TYPES_H */
