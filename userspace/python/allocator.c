// SPDX-License-Identifier: MIT
/*
 * allocator.c - BuddyAllocator: the calls of the original. allocate() and
 * deallocate() are the hot path: no keywords, no dict, no clock but for samples.
 */
#include "types.h"

PyTypeObject *allocator_type;

static bool is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

static int check_sizes(uint64_t total, uint64_t least)
{
	if (total < least)
		PyErr_SetString(PyExc_ValueError,
				"total_size must not be below min_block_size");
	else if (!is_pow2(total))
		PyErr_SetString(PyExc_ValueError, "total_size must be a power of two");
	else if (!is_pow2(least))
		PyErr_SetString(PyExc_ValueError, "min_block_size must be a power of two");
	else
		return 0;
	return -1;
}

/* The keywords that are not our own two go on to the region. */
static int init_with(struct region *region, PyObject *total_arg, PyObject *least_arg,
		     PyObject *rest)
{
	uint64_t total, least = 256;

	if (!total_arg) {
		PyErr_SetString(PyExc_TypeError, "total_size is missing");
		return -1;
	}
	if (size_from(total_arg, "total_size", &total) ||
	    (least_arg && bytes_from(least_arg, "min_block_size", &least)) ||
	    check_sizes(total, least))
		return -1;
	return region_open(region, total, least, rest);
}

static int allocator_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static const struct initializer how = {
		"BuddyAllocator", { "total_size", "min_block_size" }, 2, init_with,
	};

	return region_init_as(self, args, kwargs, &how);
}

/* (handle, address), or NULL with the block given back. */
static PyObject *pair_of(struct region *region, const struct arena_block *block)
{
	uint64_t offset = (uint64_t)block->offset << region->arena.shift;
	PyObject *handle = PyLong_FromUnsignedLongLong(block->handle);
	PyObject *address = PyLong_FromVoidPtr(region->memory.base + offset);
	PyObject *pair = handle && address ? PyTuple_New(2) : NULL;

	if (!pair) {
		Py_XDECREF(handle);
		Py_XDECREF(address);
		arena_free(&region->arena, block->handle);
		return NULL;
	}
	PyTuple_SetItem(pair, 0, handle);
	PyTuple_SetItem(pair, 1, address);
	return pair;
}

static PyObject *allocator_allocate(PyObject *self, PyObject *const *args, Py_ssize_t count,
				    PyObject *names)
{
	PyObject *size = argument(args, count, names, "size");
	struct region *region = (struct region *)self;
	struct arena_block block;
	long long bytes;
	int overflow, err;

	if (!size)
		return NULL;
	bytes = PyLong_AsLongLongAndOverflow(size, &overflow);
	if (overflow > 0)
		bytes = TOO_MANY;
	if (bytes <= 0) {
		if (bytes == -1 && PyErr_Occurred())
			return NULL;
		err = arena_check(&region->arena);
		return err ? raise_errno(err, NULL) : Py_NewRef(Py_None);
	}
	err = arena_alloc(&region->arena, (uint64_t)bytes, &block);
	if (!err)
		return pair_of(region, &block);
	return err == -ENOMEM ? Py_NewRef(Py_None) : raise_errno(err, NULL);
}

static PyObject *freed(int err)
{
	if (err && err != -ENOENT)
		return raise_errno(err, NULL);
	return PyBool_FromLong(!err);
}

static PyObject *allocator_deallocate(PyObject *self, PyObject *const *args, Py_ssize_t count,
				      PyObject *names)
{
	PyObject *key = argument(args, count, names, "handle");
	uint64_t handle;

	if (!key || handle_from(key, &handle))
		return NULL;
	return freed(arena_free(&((struct region *)self)->arena, handle));
}

static PyObject *allocator_release(PyObject *self, PyObject *const *args, Py_ssize_t count,
				   PyObject *names)
{
	PyObject *key = argument(args, count, names, "handle");
	uint64_t handle;

	if (!key || handle_from(key, &handle))
		return NULL;
	return freed(arena_release(&((struct region *)self)->arena, handle));
}

static PyObject *allocator_is_valid(PyObject *self, PyObject *const *args, Py_ssize_t count,
				    PyObject *names)
{
	PyObject *key = argument(args, count, names, "handle");
	struct arena_block block;
	uint64_t handle;
	int err;

	if (!key || handle_from(key, &handle))
		return NULL;
	err = arena_find(&((struct region *)self)->arena, handle, &block);
	return freed(err);
}

/*
 * Size classes: ((from, quantum, align), ...), ascending, the first from 0.
 */

static int rule_from(PyObject *item, const struct region *region,
		     struct arena_rule *rule)
{
	unsigned long long from, quantum, align;

	if (!PyTuple_Check(item) ||
	    !PyArg_ParseTuple(item, "KKK", &from, &quantum, &align))
		return -1;
	if (!is_pow2(quantum) || !is_pow2(align) || align > region->memory.align) {
		PyErr_Format(PyExc_ValueError,
			     "quantum and align must be powers of two, align up to %llu: %R",
			     (unsigned long long)region->memory.align, item);
		return -1;
	}
	*rule = (struct arena_rule){ from, quantum, align };
	return 0;
}

static PyObject *allocator_classes(PyObject *self, PyObject *tuple)
{
	struct region *region = (struct region *)self;
	struct arena_rule rules[ARENA_RULES];
	Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : 0;

	if (count < 1 || count > ARENA_RULES) {
		PyErr_Format(PyExc_ValueError, "a tuple of 1 to %d classes", ARENA_RULES);
		return NULL;
	}
	for (Py_ssize_t i = 0; i < count; i++) {
		if (rule_from(PyTuple_GetItem(tuple, i), region, &rules[i]))
			return NULL;
		if (i ? rules[i].from <= rules[i - 1].from : rules[i].from != 0) {
			PyErr_SetString(PyExc_ValueError, "classes must ascend from 0");
			return NULL;
		}
	}
	arena_set_rules(&region->arena, rules, (uint32_t)count);
	Py_RETURN_NONE;
}

static PyMethodDef allocator_methods[] = {
	{ "allocate", WITH_KEYWORDS(allocator_allocate), ONE,
	  "allocate($self, /, size)\n--\n\n(handle, address), or None where there is no room." },
	{ "deallocate", WITH_KEYWORDS(allocator_deallocate), ONE,
	  "deallocate($self, /, handle)\n--\n\nWhether it was valid; BufferError while there are views." },
	{ "release", WITH_KEYWORDS(allocator_release), ONE,
	  "release($self, /, handle)\n--\n\nAs deallocate(); the bytes go back when the last view is gone." },
	{ "is_valid_handle", WITH_KEYWORDS(allocator_is_valid), ONE,
	  "is_valid_handle($self, /, handle)\n--\n\nWhether it is allocated." },
	{ "_set_classes", allocator_classes, METH_O,
	  "_set_classes($self, classes, /)\n--\n\n((from, quantum, align), ...): no powers of two any more." },
	{ 0 },
};

static PyObject *get_order(PyObject *self, void *which)
{
	struct region *region = (struct region *)self;
	long most = region->size ? 63 - __builtin_clzll(region->size) : 0;
	long least = region->granule ? 63 - __builtin_clzll(region->granule) : 0;

	return PyLong_FromLong(which ? (which == (void *)1 ? least : most - least + 1) :
			       most);
}

static PyGetSetDef allocator_getset[] = {
	{ "max_order", get_order, NULL, "log2 of total_size", (void *)0 },
	{ "min_order", get_order, NULL, "log2 of min_block_size", (void *)1 },
	{ "num_levels", get_order, NULL, "of the tree", (void *)2 },
	{ 0 },
};

static PyMemberDef allocator_members[] = {
	{ "total_size", T_ULONGLONG, offsetof(struct region, size), READONLY, "bytes" },
	{ "min_block_size", T_ULONGLONG, offsetof(struct region, granule), READONLY,
	  "bytes of the smallest block" },
	{ 0 },
};

static PyType_Slot allocator_slots[] = {
	{ Py_tp_doc, "BuddyAllocator(total_size, min_block_size=256, *, backend=None, path=None, scatter=False, alone=False)\n--\n\n"
		      "A Region with the calls of the original." },
	{ Py_tp_init, allocator_init },
	{ Py_tp_methods, allocator_methods },
	{ Py_tp_getset, allocator_getset },
	{ Py_tp_members, allocator_members },
	{ 0 },
};

static PyType_Spec allocator_spec = {
	.name = "buddy_mem.BuddyAllocator",
	.basicsize = sizeof(struct region),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = allocator_slots,
};

int allocator_add(PyObject *module)
{
	if (!allocator_type)
		allocator_type = (PyTypeObject *)PyType_FromSpecWithBases(
			&allocator_spec, (PyObject *)region_type);
	return allocator_type ? PyModule_AddObjectRef(module, "BuddyAllocator",
						      (PyObject *)allocator_type) : -1;
}
