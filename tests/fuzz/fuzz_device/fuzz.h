/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the parts of the device's fuzzer share.
 *
 * A program is a list of calls; a call is a form (forms.c) with values for its
 * arguments. Values are numbers, or refer to what earlier calls left in slots: file
 * descriptors, blocks, mappings. So a program means the same whenever it runs.
 *
 *   main.c     options, the process that watches, TAP
 *   worker.c   the process that fuzzes: chooses, keeps what found something new
 *   program.c  makes and alters programs
 *   forms.c    the table of calls, and of their arguments
 *   text.c     programs as text
 *   run.c      runs a program: slots, user memory, threads, what is left behind
 *   device.c   the commands of the module, and what their replies must be
 *   memory.c   calls on mappings
 *   files.c    calls on descriptors
 *   kcov.c     coverage and comparisons
 *   log.c      the kernel's log
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/buddy.h>

#define PAGE		4096ul
#define MIB		(1ul << 20)
#define SLOTS		16
#define MAX_ARGS	11
#define MAX_CALLS	20
#define MAX_FORMS	80
#define STAGED		8	/* entries for BATCH that a program can prepare */

/* --- programs ---------------------------------------------------------------- */

enum from {
	NUMBER,		/* n */
	FD,		/* f3: a descriptor */
	HANDLE,		/* b3.handle: of a block */
	OFFSET,		/* b3.offset */
	LENGTH,		/* b3.length */
	MAP,		/* m3: an address */
	MAP_LENGTH,	/* m3.length */
	WINDOW,		/* w3: where mappings of that slot may be put */
	RW,		/* @rw: memory of the caller */
	RO,		/* @ro: that cannot be written */
	EDGE,		/* @edge: the end of @rw */
	HOLE,		/* @hole: that is not there */
	KERNEL,		/* @kernel: an address of the kernel */
	FROMS
};

/* What @from and @slot say, plus @n. */
struct value {
	uint64_t n;
	uint8_t from;
	uint8_t slot;
};

struct call {
	uint8_t form;
	uint8_t fail;		/* 0, or the kernel's n-th allocation or copy fails */
	struct value args[MAX_ARGS];
};

struct program {
	uint32_t nr;
	uint32_t other;		/* a second thread runs it, too, from this call - 1 */
	struct call calls[MAX_CALLS];
};

enum kind {
	END,
	OLD_FD,		/* @hint: enum type */
	NEW_FD,
	NEW_BLOCK,
	NEW_MAP,
	SIZE,		/* of a struct: @usual */
	PLACE,		/* of a struct in user memory */
	POINTER,	/* user memory for data */
	BLOCK_HANDLE,
	BYTES,		/* a length */
	ALIGNMENT,
	MAP_OFFSET,
	ADDRESS,	/* in a mapping */
	WHERE,		/* for a mapping */
	RANGE,		/* the length of a part of a mapping */
	RANGE_AGAIN,	/* mostly the same */
	BITS,		/* of @hint */
	CHOICE,		/* of @list */
	SMALL,		/* 0 .. @hint */
	ZERO,		/* reserved */
};

/* Of descriptors; each but ANY is made by a form. */
enum type { ANY, NODE, SHARED, DMABUF, PIPE, TYPES };

struct arg {
	const char *name;
	enum kind kind;
	uint64_t usual;		/* what is not written in the text */
	uint64_t hint;
	const uint64_t *list;	/* @hint numbers */
};

struct runner;

struct form {
	const char *name;
	unsigned int weight;
	/* 0 or more, or a negative errno, or SKIPPED */
	long (*run)(struct runner *r, const uint64_t *v, const struct call *c);
	enum type makes;	/* in its NEW_FD */
	struct arg args[MAX_ARGS + 1];
};

#define FIRST_OWN_FD	500		/* below are the programs' */
#define FRESH_AT	(40 * MIB)	/* in a runner's areas: where run_fresh() looks */
#define SKIPPED		LONG_MIN	/* it would have hurt the fuzzer itself */

extern const struct form forms[];
extern const unsigned int nr_forms;
int form_find(const char *name);

/* program.c: random numbers, and programs made of them */
void random_start(uint64_t seed);
uint64_t below(uint64_t n);
bool one_in(unsigned int n);
void program_make(struct program *p);
void program_alter(struct program *p, const struct program *other);
void program_remove(struct program *p, unsigned int at);

/* text.c */
void program_print(FILE *to, const struct program *p);
/* Return: 1, 0 at the end, -1 after an error, which it prints. */
int program_read(FILE *from, const char *name, unsigned int *line, struct program *p);

/* --- running ----------------------------------------------------------------- */

struct slot_block {
	uint64_t handle;
	uint64_t offset;
	uint64_t length;
};

struct slot_map {
	uint64_t address;
	uint64_t length;
};

/* What both threads and the children of a program have in common. */
struct slots {
	int fds[SLOTS];
	struct slot_block blocks[SLOTS];
	struct slot_map maps[SLOTS];
};

extern struct slots slots;

/* One thread. */
struct runner {
	unsigned int id;
	bool child;
	char *areas;			/* its user memory */
	struct buddy_batch_entry staged[STAGED];
	int fail_nth;			/* /proc/thread-self/fail-nth, or -1 */
	const struct program *program;
	unsigned int at;
	struct kcov *kcov;
};

void run_start(bool failing);
void run_program(const struct program *p, bool comparisons);
/* The address, where a call may use @length bytes there without harm to us; else one
 * that is not there. */
void *pointer(const struct runner *r, uint64_t address, uint64_t length);
bool is_ours(uint64_t address, uint64_t length);
void remember_mapping(uint64_t address, uint64_t length);
bool copy_guarded(void *to, const void *from, size_t length);
void touch_pages(char *p, uint64_t stride, unsigned int count, bool write);
/* The writable alias of user memory that is @r's own, else NULL. */
void *own_memory(const struct runner *r, uint64_t address, uint64_t length);
uint64_t window(unsigned int slot);
void reap_children(void);
void run_rest(struct runner *r);
void run_on(unsigned int cpu);
void areas_create(struct runner *r);

long result(long returned);

/* A reply is wrong: ends the fuzzing, with the program. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* device.c, memory.c, files.c: what the table names */
typedef long run_fn(struct runner *r, const uint64_t *v, const struct call *c);

run_fn run_info, run_alloc, run_free, run_stats, run_extents, run_share, run_dmabuf,
	run_block, run_entry, run_batch, run_trim, run_grow, run_raw, run_fresh;
run_fn run_mmap, run_munmap, run_mprotect, run_madvise, run_mremap, run_mlock,
	run_munlock, run_msync, run_mincore, run_remap, run_touch, run_peek, run_poke,
	run_vmsplice;
run_fn run_open, run_reopen, run_dup, run_close, run_sync, run_fence, run_import,
	run_child, run_send, run_receive, run_read, run_write, run_pread, run_pwrite,
	run_lseek, run_truncate, run_fallocate, run_poll, run_fsync, run_fcntl,
	run_pipe, run_splice, run_tee, run_sendfile, run_limit;
/* Moves @fd out of the way of what programs open and close. Negative where it was. */
int own_fd(int fd);
void files_start(void);
void files_end(void);

/* log.c */
void log_open(void);
void log_look(void);

/* --- kcov.c ------------------------------------------------------------------ */

#define EDGES	(1u << 18)
#define PCS	(1u << 14)

/* What was found; shared with the process that watches. */
struct coverage {
	uint8_t edges[EDGES];
	uint64_t pcs[PCS];
	uint32_t nr_edges;
	uint32_t nr_pcs;
};

/* What was new in a run. */
#define NEW_EDGES	4096

struct trace {
	uint32_t nr;
	uint32_t edges[NEW_EDGES];
};

struct operands {
	uint32_t nr;
	struct { uint64_t a, b; } pair[128];
};

struct kcov *kcov_open(unsigned int id);	/* NULL: the kernel has none */
void kcov_begin(struct kcov *k, bool comparisons);
/* Adds the edges of the run; @t gets those that are new. */
void kcov_merge(struct kcov *k, struct coverage *c, struct trace *t);
/* Were all of these in the run? */
bool kcov_has(const struct kcov *k, const struct trace *t);
void kcov_operands(struct kcov *k, struct operands *o);
extern struct kcov *kcovs[2];

/* --- worker.c, main.c -------------------------------------------------------- */

#define CORPUS	2048
#define RING	256		/* programs; with the head less than 2 MiB */

/* The last programs, in memory that outlives the VM. */
struct ring {
	uint64_t magic;
	uint64_t begun;		/* programs */
	uint64_t ended;
	uint64_t unused[5];
	struct {
		uint64_t number;	/* from 1 */
		struct program program;
	} entry[RING];
};

#define RING_MAGIC	0x676e69725a5a5546ull

/* Shared by the process that watches and the one that fuzzes. */
struct state {
	atomic_ulong calls;
	atomic_ulong programs;
	atomic_ulong faults;		/* touches and copies that ended in a signal */
	uintptr_t died_at;		/* address of a fault that was not meant */
	atomic_ulong injected;		/* calls with a failure that took place */
	atomic_ulong form_calls[MAX_FORMS];
	atomic_ulong form_ok[MAX_FORMS];
	atomic_int complaints;
	char complaint[4096];
	bool emptied;			/* the region, at the end */
	uint32_t nr_corpus;
	uint32_t by_hints;		/* of these */
	uint64_t region;
	bool has_kcov;
	struct coverage coverage;
	float cost[CORPUS];		/* seconds that each takes */
	struct program corpus[CORPUS];
};

struct options {
	uint64_t seed;
	double seconds;
	unsigned long calls;		/* end after so many; 0: by time */
	bool failing;
	bool replay;
	bool verbose;
	const char *corpus;		/* a file for all that was kept */
	const char *ring;
	char **files;			/* of programs */
	int nr_files;
};

extern struct state *state;
extern struct ring *ring;
extern struct options options;

/* The process that fuzzes, with what was read from files; does not come back. */
void worker(const struct program *loaded, unsigned int count, double end)
	__attribute__((noreturn));
double now(void);

#endif /* FUZZ_H */
