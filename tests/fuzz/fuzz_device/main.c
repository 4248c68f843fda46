// SPDX-License-Identifier: MIT
/*
 * main.c - a fuzzer of /dev/buddy: options, the process that watches, TAP.
 *
 * Usage: fuzz_device [OPTIONS] [FILE...]     (the files have programs: seeds)
 *
 *   --seconds N    how long (default 60)
 *   --calls N      until so many calls are made, instead
 *   --seed N       of the random numbers (default 1). What is kept depends on the
 *                  module's answers, and these on time: a seed repeats a run roughly,
 *                  the programs in the ring repeat it exactly
 *   --no-fail      no failures injected
 *   --corpus FILE  write all that was kept there at the end
 *   --replay       run the programs of the files, each once, and nothing else
 *   --verbose      print them before they run
 *   --ring FILE    keep the last programs there; default: an ivshmem device, which
 *                  the host sees after the VM is dead, else nowhere
 *   --show FILE    print the programs of a ring, the last one last
 *
 * Needs root, the module, and nobody else who uses it; a region of 64 MiB is full at
 * times. Guided by coverage where the module is built with KCOV_INSTRUMENT=y.
 */
#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fuzz.h"

#define HANG		90	/* seconds without a program's end */
#define LAST_WORDS	3	/* the same after trouble: it may well hang */
#define RING_SIZE	(1 * MIB)

_Static_assert(sizeof(struct ring) <= RING_SIZE, "the ring does not fit its device");

struct state *state;
struct ring *ring;
struct options options = { .seed = 1, .seconds = 60, .failing = true };
static int tests;

/* The first one counts; those after it may be its doing. */
void complain(const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&state->complaints, 1))
		return;
	va_start(args, format);
	vsnprintf(state->complaint, sizeof(state->complaint), format, args);
	va_end(args);
}

/* --- the ring ---------------------------------------------------------------- */

static struct ring *ring_map(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	void *p;

	if (fd < 0 || ((flags & O_CREAT) && ftruncate(fd, RING_SIZE)))
		return NULL;
	p = mmap(NULL, RING_SIZE, PROT_READ | (flags & O_RDWR ? PROT_WRITE : 0), MAP_SHARED,
		 fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static bool has_id(const char *device, const char *file, const char *want)
{
	char path[512], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return !strncmp(text, want, strlen(want));
}

/* Memory of the host, as QEMU's ivshmem-plain shows it. */
static struct ring *ring_of_host(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct ring *found = NULL;
	struct dirent *e;
	char path[512];

	while (dir && !found && (e = readdir(dir))) {
		if (!has_id(e->d_name, "vendor", "0x1af4") ||
		    !has_id(e->d_name, "device", "0x1110"))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", e->d_name);
		found = ring_map(path, O_RDWR);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void ring_start(void)
{
	ring = options.ring ? ring_map(options.ring, O_RDWR | O_CREAT) : ring_of_host();
	if (!ring)
		ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(ring, 0, sizeof(*ring));
	ring->magic = RING_MAGIC;
}

static int ring_show(const char *path)
{
	struct ring *r = ring_map(path, O_RDONLY);

	if (!r || r->magic != RING_MAGIC) {
		fprintf(stderr, "%s: no ring\n", path);
		return 1;
	}
	for (uint64_t n = r->begun > RING ? r->begun - RING : 0; n < r->begun; n++) {
		printf("# %llu%s\n", (unsigned long long)n + 1,
		       n >= r->ended ? ": did not come to its end" : "");
		if (r->entry[n % RING].number == n + 1)
			program_print(stdout, &r->entry[n % RING].program);
		printf("\n");
	}
	return 0;
}

/* --- files of programs ------------------------------------------------------- */

static struct program *loaded;
static unsigned int nr_loaded;

static bool load(const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned int line = 0;
	struct program p;
	int got;

	if (!file) {
		perror(path);
		return false;
	}
	while ((got = program_read(file, path, &line, &p)) > 0) {
		loaded = realloc(loaded, (nr_loaded + 1) * sizeof(p));
		loaded[nr_loaded++] = p;
	}
	fclose(file);
	return got == 0;
}

static void save_corpus(void)
{
	FILE *file = options.corpus ? fopen(options.corpus, "w") : NULL;

	if (!file)
		return;
	for (uint32_t i = 0; i < state->nr_corpus; i++) {
		program_print(file, &state->corpus[i]);
		fputc('\n', file);
	}
	fclose(file);
}

/* --- failures for the kernel ------------------------------------------------- */

static void set(const char *directory, const char *name, const char *value)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		options.failing = false;
	close(fd);
}

/* Those that fail-nth asks for, without a word in the log. */
static void prepare_failures(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy",
					     "fail_futex", "fail_io_timeout",
					     "fail_make_request", "fail_sunrpc", NULL };

	if (!options.failing)
		return;
	for (int i = 0; kinds[i]; i++)
		set(kinds[i], "verbose", "0");
	set("failslab", "ignore-gfp-wait", "N");
	set("fail_page_alloc", "ignore-gfp-wait", "N");
	set("fail_page_alloc", "ignore-gfp-highmem", "N");
	set("fail_page_alloc", "min-order", "0");
}

/* --- watching ---------------------------------------------------------------- */

static void print_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		printf("#   %s", line);
	if (file)
		fclose(file);
}

static void show_stacks(pid_t pid)
{
	char path[512];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		printf("# thread %s is at\n", e->d_name);
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stack", pid, e->d_name);
		print_file(path);
	}
	if (dir)
		closedir(dir);
}

static void show_progress(double began)
{
	unsigned long calls = atomic_load(&state->calls);
	double elapsed = now() - began;

	printf("# %.0f s: %lu calls, %.0f/s, %lu programs, %u kept (%u by hints), %u PCs, "
	       "%u edges, %lu faults, %lu injected\n", elapsed, calls,
	       (double)calls / elapsed, atomic_load(&state->programs), state->nr_corpus,
	       state->by_hints, state->coverage.nr_pcs, state->coverage.nr_edges,
	       atomic_load(&state->faults), atomic_load(&state->injected));
	fflush(stdout);
}

/* Until the fuzzing process ends; its status, or -1 where it hangs. */
static int watch(pid_t pid, double began)
{
	unsigned long programs = 0;
	double moved = now(), shown = began;
	int status, limit;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		usleep(50000);
		if (atomic_load(&state->programs) != programs) {
			programs = atomic_load(&state->programs);
			moved = now();
		}
		if (now() - shown >= 10) {
			shown = now();
			show_progress(began);
		}
		log_look();
		limit = atomic_load(&state->complaints) ? LAST_WORDS : HANG;
		if (now() - moved > limit) {
			complain("a program did not end in %d s", limit);
			show_stacks(pid);
			kill(pid, SIGKILL);
			return -1;
		}
	}
	if (WIFSIGNALED(status))
		complain("the fuzzing process died of signal %d, at address %#llx",
			 WTERMSIG(status), (unsigned long long)state->died_at);
	else if (WEXITSTATUS(status) > 1)
		complain("the fuzzing process ended with %d", WEXITSTATUS(status));
	return status;
}

static void show_forms(void)
{
	printf("# calls (those that succeeded):");
	for (unsigned int i = 0; i < nr_forms; i++) {
		if (i % 6 == 0)
			printf("\n#  ");
		printf(" %s %lu (%lu)", forms[i].name, atomic_load(&state->form_calls[i]),
		       atomic_load(&state->form_ok[i]));
	}
	printf("\n");
}

static void show_program(void)
{
	if (!ring->begun)
		return;
	printf("# the last program%s:\n", ring->ended < ring->begun ? ", which did not end" : "");
	program_print(stdout, &ring->entry[(ring->begun - 1) % RING].program);
}

static bool test(bool ok, const char *name)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, name);
	return ok;
}

static bool report(double began)
{
	bool ok = !atomic_load(&state->complaints);
	struct rusage usage;
	char name[128];

	show_progress(began);
	show_forms();
	getrusage(RUSAGE_CHILDREN, &usage);
	printf("# processor: %ld s of the fuzzer's, %ld s of the kernel's\n",
	       usage.ru_utime.tv_sec, usage.ru_stime.tv_sec);
	if (!ok) {
		printf("# %s\n", state->complaint);
		show_program();
	}
	snprintf(name, sizeof(name), "the kernel is silent and its replies are right, %lu calls",
		 atomic_load(&state->calls));
	ok = test(ok, name) & test(state->emptied, "nothing is left in the region");
	snprintf(name, sizeof(name), "guided by coverage: %u places in the module",
		 state->coverage.nr_pcs);
	if (options.replay || !state->has_kcov)
		printf("ok %d - guided by coverage # SKIP %s\n", ++tests,
		       options.replay ? "a replay is not" : "the module has no KCOV");
	else
		ok &= test(state->coverage.nr_pcs > 0, name);
	return ok;
}

/* --- main -------------------------------------------------------------------- */

static const struct option names[] = {
	{ "seconds", 1, NULL, 't' }, { "calls", 1, NULL, 'n' }, { "seed", 1, NULL, 's' },
	{ "no-fail", 0, NULL, 'f' }, { "corpus", 1, NULL, 'c' }, { "replay", 0, NULL, 'r' },
	{ "verbose", 0, NULL, 'v' }, { "ring", 1, NULL, 'R' }, { "show", 1, NULL, 'S' },
	{ NULL, 0, NULL, 0 },
};

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 't': options.seconds = atof(optarg); break;
		case 'n': options.calls = strtoul(optarg, NULL, 0); break;
		case 's': options.seed = strtoull(optarg, NULL, 0); break;
		case 'f': options.failing = false; break;
		case 'c': options.corpus = optarg; break;
		case 'r': options.replay = true; break;
		case 'v': options.verbose = true; break;
		case 'R': options.ring = optarg; break;
		case 'S': exit(ring_show(optarg));
		default: fprintf(stderr, "usage: fuzz_device [OPTIONS] [FILE...], see main.c\n");
			 exit(2);
		}
	}
	for (; optind < argc; optind++)
		if (!load(argv[optind]))
			exit(2);
}

int main(int argc, char **argv)
{
	double began;
	pid_t pid;
	bool ok;

	parse(argc, argv);
	state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ring_start();
	prepare_failures();
	printf("1..3\n# seed %llu, %u programs to begin with\n",
	       (unsigned long long)options.seed, nr_loaded);
	fflush(stdout);
	began = now();
	pid = fork();
	if (!pid)
		worker(loaded, nr_loaded, began + options.seconds);
	log_open();
	run_on(1);
	watch(pid, began);
	ok = report(began);
	save_corpus();
	return ok ? 0 : 1;
}
