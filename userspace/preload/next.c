// SPDX-License-Identifier: MIT
/*
 * next.c - the allocator behind this library: what the program would call if the library
 * were not there.
 *
 * Each function is the one that follows ours in the order of the libraries
 * (RTLD_NEXT): that of jemalloc, tcmalloc or mimalloc, if the program is linked with one or
 * preloads it after us, else libc's. glibc's names __libc_malloc() and so on do not
 * say which: tcmalloc and mimalloc define them, jemalloc does not.
 *
 * dlsym() takes the loader's lock, which a thread of the program must not wait for: the
 * one in dlopen() may wait for that thread. So all is looked up once, by the first call or
 * by the start of the library, whichever comes first; both come before there are threads.
 * Before that each pointer leads to a function that looks all up. A dlsym() that allocates
 * for itself (up to glibc 2.33) gets no memory then, and does without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#include "preload.h"

static bool resolving;

static void *early_malloc(size_t size);
static void early_free(void *p);
static void *early_calloc(size_t count, size_t size);
static void *early_realloc(void *p, size_t size);
static void *early_memalign(size_t align, size_t size);
static int early_posix_memalign(void **result, size_t align, size_t size);
static size_t early_usable_size(void *p);
static int early_trim(size_t pad);

struct preload_next preload_next = {
	.malloc = early_malloc,
	.free = early_free,
	.calloc = early_calloc,
	.realloc = early_realloc,
	.memalign = early_memalign,
	.aligned_alloc = early_memalign,
	.posix_memalign = early_posix_memalign,
	.usable_size = early_usable_size,
	.trim = early_trim,
};

/* Return: false while the functions are being looked up. */
static bool resolved(void)
{
	if (resolving) {
		errno = ENOMEM;
		return false;
	}
	preload_resolve();
	return true;
}

static void *early_malloc(size_t size)
{
	return resolved() ? preload_next.malloc(size) : NULL;
}

/* Nothing was returned yet that could be freed. */
static void early_free(void *p)
{
	if (p && resolved())
		preload_next.free(p);
}

static void *early_calloc(size_t count, size_t size)
{
	return resolved() ? preload_next.calloc(count, size) : NULL;
}

static void *early_realloc(void *p, size_t size)
{
	return resolved() ? preload_next.realloc(p, size) : NULL;
}

static void *early_memalign(size_t align, size_t size)
{
	return resolved() ? preload_next.memalign(align, size) : NULL;
}

static int early_posix_memalign(void **result, size_t align, size_t size)
{
	return resolved() ? preload_next.posix_memalign(result, align, size) : ENOMEM;
}

static size_t early_usable_size(void *p)
{
	return resolved() ? preload_next.usable_size(p) : 0;
}

static int early_trim(size_t pad)
{
	return resolved() ? preload_next.trim(pad) : 0;
}

static const void *library_of(const void *symbol)
{
	Dl_info info;

	return dladdr(symbol, &info) ? info.dli_fbase : NULL;
}

/*
 * An allocator may call a function of the family by its name: jemalloc's operator new
 * calls aligned_alloc(), but its operator delete none that comes here.
 */
static void find_library(struct preload_next *found)
{
	const char *start = library_of(*(void **)&found->malloc);
	const ElfW(Ehdr) *elf = (const void *)start;
	const ElfW(Phdr) *segment = (const void *)(start + elf->e_phoff);

	found->start = found->bytes = 0;
	if (start == library_of(dlsym(RTLD_NEXT, "gnu_get_libc_version")))
		return;
	found->start = (uintptr_t)start;
	for (int i = 0; i < elf->e_phnum; i++)
		if (segment[i].p_type == PT_LOAD)
			found->bytes = segment[i].p_vaddr + segment[i].p_memsz;
}

void preload_resolve(void)
{
	static const struct {
		const char *name;
		size_t offset;
	} functions[] = {
		{ "malloc", offsetof(struct preload_next, malloc) },
		{ "free", offsetof(struct preload_next, free) },
		{ "calloc", offsetof(struct preload_next, calloc) },
		{ "realloc", offsetof(struct preload_next, realloc) },
		{ "memalign", offsetof(struct preload_next, memalign) },
		{ "aligned_alloc", offsetof(struct preload_next, aligned_alloc) },
		{ "posix_memalign", offsetof(struct preload_next, posix_memalign) },
		{ "malloc_usable_size", offsetof(struct preload_next, usable_size) },
		{ "malloc_trim", offsetof(struct preload_next, trim) },
	};
	struct preload_next found;

	if (preload_next.malloc != early_malloc)
		return;
	resolving = true;
	/* glibc has all of them, so none is missing */
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		*(void **)((char *)&found + functions[i].offset) =
			dlsym(RTLD_NEXT, functions[i].name);
	found.sizes_known = library_of(*(void **)&found.usable_size) ==
			    library_of(*(void **)&found.realloc);
	find_library(&found);
	preload_next = found;
	resolving = false;
}

/*
 * In a program of fixed addresses, a function whose address it takes is found at an entry
 * of its own, by a symbol that it does not define: the function is that of a library.
 */
static bool is_import(const void *symbol)
{
	const ElfW(Sym) *entry = NULL;
	Dl_info info;

	return dladdr1(symbol, &info, (void **)&entry, RTLD_DL_SYMENT) && entry &&
	       entry->st_shndx == SHN_UNDEF;
}

const char *preload_overridden(void)
{
	static const char *const names[] = {
		"malloc", "free", "realloc", "malloc_usable_size",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const void *symbol = dlsym(RTLD_DEFAULT, names[i]);

		if (library_of(symbol) != library_of(&preload_next) && !is_import(symbol))
			return names[i];
	}
	return NULL;
}
