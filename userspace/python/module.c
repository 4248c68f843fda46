// SPDX-License-Identifier: MIT
/*
 * module.c - buddy_mem._core: a table of contents.
 */
#include "types.h"

static PyMethodDef functions[] = {
	{ "from_dlpack", from_dlpack, METH_O,
	  "from_dlpack(object, /)\n--\n\nAn Array of its bytes, not a copy." },
	{ "open_shared", WITH_KEYWORDS(open_shared),
	  METH_VARARGS | METH_KEYWORDS,
	  "open_shared(fd)\n--\n\nAn Array of what Region.share() of another process gave." },
	{ 0 },
};

/*
 * The types are the main interpreter's, and made once: a module that is imported again
 * has the same.
 */
static int fill(PyObject *module)
{
	if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
		PyErr_SetString(PyExc_ImportError,
				"buddy_mem works in the main interpreter of a process alone");
		return -1;
	}
	if (block_add(module) || array_add(module) || region_add(module) ||
	    allocator_add(module))
		return -1;
	return PyModule_AddStringConstant(module, "__version__", VERSION);
}

static PyModuleDef_Slot slots[] = {
	{ Py_mod_exec, fill },
	{ 0 },
};

static PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "buddy_mem._core",
	.m_doc = "The C half of buddy_mem; see buddy_mem.",
	.m_methods = functions,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&definition);
}
