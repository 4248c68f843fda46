// SPDX-License-Identifier: MIT
/*
 * statistics.c - get_statistics(): the keys of the original, and some more.
 */
#include "types.h"

static int put(PyObject *dict, const char *key, PyObject *value)
{
	int err = value ? PyDict_SetItemString(dict, key, value) : -1;

	Py_XDECREF(value);
	return err;
}

static int put_count(PyObject *dict, const char *key, uint64_t value)
{
	return put(dict, key, PyLong_FromUnsignedLongLong(value));
}

static int put_ratio(PyObject *dict, const char *key, uint64_t a, uint64_t b)
{
	return put(dict, key, PyFloat_FromDouble(b ? (double)a / (double)b : 0.0));
}

/* One call in ARENA_SAMPLE is timed; the sum stands for all of them. */
static uint64_t all_ns(uint64_t ns, uint64_t timed, uint64_t calls)
{
	return timed ? (uint64_t)((double)ns / (double)timed * (double)calls) : 0;
}

static int put_originals(PyObject *d, const struct arena_view *v)
{
	const struct arena_counters *c = &v->counters;

	return put_count(d, "allocations", c->allocs) ||
	       put_count(d, "deallocations", c->frees) ||
	       put_count(d, "num_allocations", c->allocs) ||
	       put_count(d, "num_deallocations", c->frees) ||
	       put_count(d, "total_requested", c->requested) ||
	       put_count(d, "total_allocated", c->granted) ||
	       put_ratio(d, "current_fragmentation", v->free - v->largest, v->free) ||
	       put_ratio(d, "max_fragmentation", c->worst_free - c->worst_largest,
			 c->worst_free) ||
	       put_ratio(d, "utilization", v->granules - v->free, v->granules) ||
	       put_count(d, "allocation_time_ns",
			 all_ns(c->alloc_ns, c->alloc_timed, c->allocs)) ||
	       put_count(d, "deallocation_time_ns",
			 all_ns(c->free_ns, c->free_timed, c->frees)) ||
	       put_ratio(d, "avg_allocation_time_ns", c->alloc_ns, c->alloc_timed) ||
	       put_ratio(d, "avg_deallocation_time_ns", c->free_ns, c->free_timed);
}

static int put_ours(PyObject *d, struct region *region, const struct arena_view *v)
{
	const struct arena_counters *c = &v->counters;
	uint32_t shift = region->arena.shift;
	uint64_t used = (v->granules - v->free) << shift;

	return put_count(d, "timed_allocations", c->alloc_timed) ||
	       put_count(d, "timed_deallocations", c->free_timed) ||
	       put_count(d, "failed_allocations", c->fails) ||
	       put_count(d, "failed_deallocations", c->bad_frees) ||
	       put_count(d, "size", region->size) ||
	       put_count(d, "used", used) ||
	       put_count(d, "free", v->free << shift) ||
	       put_count(d, "largest_free", v->largest << shift) ||
	       put_ratio(d, "internal_fragmentation", used - v->held, used) ||
	       put_count(d, "blocks", v->count - v->gone) ||
	       put_count(d, "blocks_kept_by_views", v->gone) ||
	       put_count(d, "views", v->pins) ||
	       put(d, "backend", region->memory.dev ?
		   PyUnicode_FromString(buddy_dev_backend(region->memory.dev)) :
		   Py_NewRef(Py_None));
}

PyObject *region_statistics(PyObject *self, PyObject *unused)
{
	struct region *region = (struct region *)self;
	int err = arena_check(&region->arena);
	struct arena_view v;
	PyObject *dict;

	(void)unused;
	if (err)
		return raise_errno(err, NULL);
	dict = PyDict_New();
	if (!dict)
		return NULL;
	arena_look(&region->arena, &v);
	if (put_originals(dict, &v) || put_ours(dict, region, &v)) {
		Py_DECREF(dict);
		return NULL;
	}
	return dict;
}

PyObject *region_reset(PyObject *self, PyObject *unused)
{
	struct region *region = (struct region *)self;
	int err = arena_check(&region->arena);

	(void)unused;
	if (err)
		return raise_errno(err, NULL);
	arena_reset(&region->arena);
	Py_RETURN_NONE;
}
