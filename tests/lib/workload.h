/* SPDX-License-Identifier: MIT */
/*
 * workload.h - requests to an allocator that real programs make, from tables that are
 * not part of the project: the tensors of a model, a batch of inference requests, a
 * trace of a service. Each becomes an array of events.
 *
 * The tables are in the directory BUDDY_DATA, else in ../shared/data, from the top of
 * the tree: workloads/qwen3-vl-{2b,4b,8b}.tsv (name, dtype, shape, bytes of each
 * parameter), workloads/request.tsv (what one request allocates, and for how long, in
 * phases), traces/AzureLLMInferenceTrace_conv.csv (time, context and generated tokens).
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* @bytes above 0: allocate number @id. 0: free it. */
struct event {
	uint32_t id;
	uint64_t bytes;
};

struct workload {
	struct event *events;
	uint32_t count, slots;
	uint32_t ids;
	uint64_t live, peak;	/* bytes: at the end, and the most */
	double mean;		/* bytes, over the time of a trace */
};

static inline FILE *workload_open(const char *name)
{
	const char *directory = getenv("BUDDY_DATA");
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", directory ? directory : "../shared/data", name);
	return fopen(path, "r");
}

static inline void workload_add(struct workload *w, uint32_t id, uint64_t bytes)
{
	if (w->count == w->slots) {
		w->slots = 2 * w->slots + 1024;
		w->events = realloc(w->events, w->slots * sizeof(*w->events));
		if (!w->events)
			abort();
	}
	w->events[w->count++] = (struct event){ id, bytes };
}

static inline uint32_t workload_alloc(struct workload *w, uint64_t bytes)
{
	workload_add(w, w->ids, bytes);
	w->live += bytes;
	if (w->live > w->peak)
		w->peak = w->live;
	return w->ids++;
}

static inline void workload_free(struct workload *w, uint32_t id, uint64_t bytes)
{
	workload_add(w, id, 0);
	w->live -= bytes;
}

/* All tensors, in the order of the file. Return: false if there is no such table. */
static inline bool workload_weights(struct workload *w, const char *model)
{
	char name[64], line[512];
	FILE *file;

	*w = (struct workload){ 0 };
	snprintf(name, sizeof(name), "workloads/qwen3-vl-%s.tsv", model);
	file = workload_open(name);
	if (!file || !fgets(line, sizeof(line), file))
		return false;
	while (fgets(line, sizeof(line), file)) {
		const char *last = strrchr(line, '\t');

		if (last)
			workload_alloc(w, strtoull(last, NULL, 10));
	}
	fclose(file);
	return w->count > 0;
}

/* Of the trace: a request, in tokens, and its arrival in seconds. */
struct arrival {
	double time;
	uint32_t context, generated;
};

/* Return: how many there are, at most @most; 0 if there is no such table. */
static inline uint32_t workload_arrivals(struct arrival *arrivals, uint32_t most)
{
	FILE *file = workload_open("traces/AzureLLMInferenceTrace_conv.csv");
	char line[256];
	uint32_t n = 0;

	if (!file || !fgets(line, sizeof(line), file))
		return 0;
	while (n < most && fgets(line, sizeof(line), file)) {
		struct arrival *a = &arrivals[n];
		int day, hour, minute;
		double second;

		if (sscanf(line, "%*d-%*d-%d %d:%d:%lf,%u,%u", &day, &hour, &minute, &second,
			   &a->context, &a->generated) != 6)
			break;
		a->time = second + 60 * (minute + 60 * (hour + 24.0 * day));
		n++;
	}
	fclose(file);
	return n;
}

/*
 * One row of request.tsv: @count tensors, from phase @born to phase @dies. It is of a
 * context of 1024 tokens: 896 are read, 128 are generated.
 */
#define WORKLOAD_TOKENS	896

struct tensor {
	uint64_t bytes, per_token;	/* per_token: grows by each generated token */
	uint32_t count, born, dies;
	bool by_tokens;			/* as long as there are tokens */
	bool of_image;
};

struct request_table {
	struct tensor row[1024];
	uint32_t count;
	uint32_t decode;		/* phase in which tokens are generated */
};

static inline bool workload_is_of_image(const char *name)
{
	static const char *const names[] = {
		"pixel", "pos_embeds", "vision", "deepstack", "merger", "image_embeds",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(name, names[i], strlen(names[i])))
			return true;
	return false;
}

static inline bool workload_has_tokens(const char *shape)
{
	for (; shape; shape = strchr(shape, 'x')) {
		shape += *shape == 'x';
		if (strtoul(shape, NULL, 10) == WORKLOAD_TOKENS)
			return true;
	}
	return false;
}

/* Return: false if there is no such table. */
static inline bool workload_request(struct request_table *table, const char *model)
{
	FILE *file = workload_open("workloads/request.tsv");
	char line[512], of[16], name[128], shape[64];
	struct tensor t;

	*table = (struct request_table){ 0 };
	while (file && table->count < 1024 && fgets(line, sizeof(line), file)) {
		unsigned int context;
		unsigned long long bytes, grow;

		if (sscanf(line, "%15s %u %127s %*s %63s %llu %u %u %u %llu", of, &context, name,
			   shape, &bytes, &t.count, &t.born, &t.dies, &grow) != 9 ||
		    strcmp(of, model) || context != 1024)
			continue;
		/* what a step of generation needs for itself is left out */
		if (!strncmp(name, "decode.", 7)) {
			table->decode = t.born;
			continue;
		}
		t.bytes = bytes;
		t.per_token = grow;
		t.by_tokens = workload_has_tokens(shape);
		t.of_image = workload_is_of_image(name);
		table->row[table->count++] = t;
	}
	if (file)
		fclose(file);
	return table->count > 0;
}

/* A request that runs: what it has, by row of the table and number. */
struct running {
	uint32_t left;		/* tokens to be generated */
	uint32_t have;
	struct { uint32_t id, dies; uint64_t bytes; } tensor[1024];
};

static inline void workload_end_phase(struct workload *w, struct running *r, uint32_t phase)
{
	for (uint32_t i = r->have; i-- > 0;) {
		if (r->tensor[i].dies > phase)
			continue;
		workload_free(w, r->tensor[i].id, r->tensor[i].bytes);
		r->tensor[i] = r->tensor[--r->have];
	}
}

static inline uint64_t workload_bytes(const struct tensor *t, const struct arrival *a)
{
	uint64_t bytes = t->bytes;

	if (t->by_tokens)
		bytes = bytes / WORKLOAD_TOKENS * a->context;
	return bytes + t->per_token * a->generated;
}

/* Everything up to the first generated token; of the cache all that it will need. */
static inline void workload_prefill(struct workload *w, const struct request_table *table,
				    const struct arrival *a, struct running *r)
{
	bool image = a->context >= 512;

	r->left = a->generated;
	r->have = 0;
	for (uint32_t phase = 0; phase < table->decode; phase++) {
		for (uint32_t i = 0; i < table->count; i++) {
			const struct tensor *t = &table->row[i];
			uint64_t bytes = workload_bytes(t, a);

			if (t->born != phase || (t->of_image && !image))
				continue;
			for (uint32_t n = 0; n < t->count && r->have < 1024; n++) {
				r->tensor[r->have].id = workload_alloc(w, bytes);
				r->tensor[r->have].bytes = bytes;
				r->tensor[r->have++].dies = t->dies;
			}
		}
		/* an output is there before its inputs go */
		workload_end_phase(w, r, phase);
	}
	workload_end_phase(w, r, table->decode);
}

/* The first requests of the trace, 16 at once: the next one begins when one ends. */
static inline bool workload_batch(struct workload *w, const char *model, uint32_t requests)
{
	static struct running running[16];
	static struct request_table table;
	static struct arrival arrivals[256];
	uint32_t next = 0, n = workload_arrivals(arrivals, requests < 256 ? requests : 256);

	*w = (struct workload){ 0 };
	if (!n || !workload_request(&table, model))
		return false;
	memset(running, 0, sizeof(running));
	for (uint32_t busy = 1; busy;) {
		busy = 0;
		for (uint32_t i = 0; i < 16; i++) {
			struct running *r = &running[i];

			if (!r->left)
				workload_end_phase(w, r, UINT32_MAX);
			if (!r->left && next < n)
				workload_prefill(w, &table, &arrivals[next++], r);
			busy += r->have > 0;
			r->left -= !!r->left;
		}
	}
	return true;
}

#define TRACE_MOST	20000
#define TRACE_TOKEN	(112u << 10)	/* bytes of cache */
#define TRACE_STEP	0.03		/* seconds that a generated token takes */

/* A request of a trace that is served: until when, and its number. */
struct served {
	double end;
	uint64_t bytes;
	uint32_t id;
};

static inline int workload_by_end(const void *a, const void *b)
{
	double x = ((const struct served *)a)->end, y = ((const struct served *)b)->end;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The caches of the whole trace, each from its arrival until its last token. */
static inline bool workload_trace(struct workload *w)
{
	static struct arrival arrivals[TRACE_MOST];
	static struct served served[TRACE_MOST];
	uint32_t n = workload_arrivals(arrivals, TRACE_MOST), live = 0;
	double area = 0;

	*w = (struct workload){ 0 };
	for (uint32_t i = 0; i < n; i++) {
		const struct arrival *a = &arrivals[i];
		uint64_t bytes = (uint64_t)(a->context + a->generated) * TRACE_TOKEN;
		double end = a->time + TRACE_STEP * a->generated;

		qsort(served, live, sizeof(*served), workload_by_end);
		while (live && served[live - 1].end <= a->time) {
			live--;
			workload_free(w, served[live].id, served[live].bytes);
		}
		served[live++] = (struct served){ end, bytes, workload_alloc(w, bytes) };
		area += (double)bytes * (end - a->time);
	}
	if (n)
		w->mean = area / (arrivals[n - 1].time - arrivals[0].time);
	return n > 0;
}

#endif /* WORKLOAD_H */
