// SPDX-License-Identifier: MIT
/*
 * model.c - the network of a llama-architecture checkpoint (RMSNorm, RoPE,
 * grouped-query attention, SwiGLU), and its memory: three blocks.
 *
 * The arithmetic follows the order of the published llama2.c program, so that
 * at temperature 0 the text is the same to the byte; no fast-math here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "story.h"

#define DIRECT_ALIGN	4096u	/* enough for every disk's O_DIRECT */
#define HUGE_PAGE	(2u << 20)
#define READ_STEP	(64u << 20)
#define MAX_PARAMETER	(1 << 24)

/*
 * Loading
 */

static int config_check(struct model_config *c, bool *shared)
{
	*shared = c->vocab_size > 0;
	/* INT32_MIN stays negative: out of range below */
	if (c->vocab_size < 0 && c->vocab_size != INT32_MIN)
		c->vocab_size = -c->vocab_size;
	const int32_t values[] = {
		c->dim, c->hidden_dim, c->n_layers, c->n_heads, c->n_kv_heads,
		c->vocab_size, c->seq_len,
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (values[i] < 1 || values[i] > MAX_PARAMETER)
			return -EINVAL;
	/* rotary pairs need even heads */
	if (c->dim % c->n_heads || c->n_heads % c->n_kv_heads ||
	    c->dim / c->n_heads % 2)
		return -EINVAL;
	return 0;
}

static size_t kv_dim(const struct model_config *c)
{
	return (size_t)(c->dim / c->n_heads * c->n_kv_heads);
}

/* Takes a * b * c floats at @at, or poisons @at on overflow. */
static const float *take(const float *base, size_t *at, size_t a, size_t b,
			 size_t c)
{
	const float *here = base ? base + *at : NULL;
	size_t n;

	if (*at == SIZE_MAX || __builtin_mul_overflow(a, b, &n) ||
	    __builtin_mul_overflow(n, c, &n) ||
	    __builtin_add_overflow(*at, n, at) || *at > SIZE_MAX / 8)
		*at = SIZE_MAX;
	return here;
}

/*
 * Points @w into the floats at @base; with a NULL @base only measures.
 * Return: how many floats a file must have, SIZE_MAX on overflow.
 */
static size_t weights_layout(struct model_weights *w, const struct model_config *c,
			     bool shared, const float *base)
{
	size_t dim = (size_t)c->dim, hidden = (size_t)c->hidden_dim;
	size_t layers = (size_t)c->n_layers, vocab = (size_t)c->vocab_size;
	size_t kv = kv_dim(c), at = sizeof(*c) / sizeof(float);

	w->embedding = take(base, &at, vocab, dim, 1);
	w->rms_attention = take(base, &at, layers, dim, 1);
	w->wq = take(base, &at, layers, dim, dim);
	w->wk = take(base, &at, layers, kv, dim);
	w->wv = take(base, &at, layers, kv, dim);
	w->wo = take(base, &at, layers, dim, dim);
	w->rms_ffn = take(base, &at, layers, dim, 1);
	w->w1 = take(base, &at, layers, hidden, dim);
	w->w2 = take(base, &at, layers, dim, hidden);
	w->w3 = take(base, &at, layers, hidden, dim);
	w->rms_final = take(base, &at, dim, 1, 1);
	/* tables of sines and cosines that newer programs compute themselves */
	take(base, &at, (size_t)c->seq_len, dim / (size_t)c->n_heads, 1);
	w->classifier = shared ? w->embedding : take(base, &at, vocab, dim, 1);
	return at;
}

/* Only whole units of 2 MiB are mapped by huge pages: worth an eighth more. */
static uint64_t round_length(uint64_t length)
{
	uint64_t whole = (length + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;

	return (whole - length) * 8 <= length ? whole : length;
}

static int refused(const char *what, int error)
{
	fprintf(stderr, "story: %s: %s\n", what, buddy_error());
	return error;
}

static int block_new(struct buddy_dev *dev, uint64_t length, const char *what,
		     bool talk, struct buddy_block **block, void **address)
{
	struct buddy_alloc request = { .length = round_length(length) };
	int err = buddy_block_request(dev, &request, block);

	if (err)
		return refused(what, err);
	if (talk)
		fprintf(stderr, "story: %-12s %9llu bytes in a block at offset %#llx of the %s\n",
			what, (unsigned long long)buddy_block_length(*block),
			(unsigned long long)buddy_block_offset(*block),
			buddy_dev_backend(dev));
	err = buddy_block_map(*block, address);
	return err ? refused(what, err) : 0;
}

/* Reads the file to its end; @room is a multiple of DIRECT_ALIGN. */
static int read_all(int fd, char *to, size_t length, size_t room, bool talk)
{
	size_t done = 0;

	while (done < length) {
		size_t n = room - done < READ_STEP ? room - done : READ_STEP;
		ssize_t got = pread(fd, to + done, n, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EINVAL;	/* shorter than it was a moment ago */
		done += (size_t)got;
		if (talk && length > READ_STEP)
			fprintf(stderr, "\rstory: read %zu of %zu MiB",
				done >> 20, length >> 20);
	}
	if (talk && length > READ_STEP)
		fputc('\n', stderr);
	return 0;
}

/* Straight from the disk into the block; through the page cache if it must. */
static int read_file(const char *path, char *to, size_t length, size_t room,
		     bool talk)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	bool direct = fd >= 0;
	int err;

	if (!direct && errno == EINVAL)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = read_all(fd, to, length, room, talk);
	if (err == -EINVAL && direct) {
		/* some file systems refuse at the read, not at open() */
		direct = false;
		fcntl(fd, F_SETFL, 0);
		err = read_all(fd, to, length, room, talk);
	}
	close(fd);
	if (!err && talk)
		fprintf(stderr, "story: read %s %s\n", path,
			direct ? "with O_DIRECT" :
				 "through the page cache: its file system has no O_DIRECT");
	return err;
}

static int config_read(const char *path, struct model_config *config,
		       uint64_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode) ||
		 read(fd, config, sizeof(*config)) != (ssize_t)sizeof(*config))
		err = -EINVAL;
	else
		*length = (uint64_t)st.st_size;
	close(fd);
	return err;
}

static int load_weights(struct model *m, struct buddy_dev *dev, const char *path,
			bool talk)
{
	struct model_config *c = &m->config;
	uint64_t length = 0, room;
	bool shared = false;
	size_t floats = SIZE_MAX;
	void *address;
	int err = config_read(path, c, &length);

	if (err && err != -EINVAL)
		return err;
	if (!err)
		err = config_check(c, &shared);
	if (!err)
		floats = weights_layout(&m->w, c, shared, NULL);
	if (err || floats == SIZE_MAX || length < floats * sizeof(float)) {
		fprintf(stderr, "story: %s is no checkpoint (llama2.c, version 0), or is cut short\n",
			path);
		return -EINVAL;
	}
	room = (length + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
	err = block_new(dev, room, "weights", talk, &m->weights, &address);
	if (!err)
		err = read_file(path, address, length, room, talk);
	if (!err)
		weights_layout(&m->w, c, shared, address);
	return err;
}

static int alloc_cache(struct model *m, struct buddy_dev *dev, bool talk)
{
	size_t half = (size_t)m->config.n_layers * (size_t)m->config.seq_len *
		      kv_dim(&m->config);
	void *address;
	int err = block_new(dev, 2 * half * sizeof(float), "KV cache", talk,
			    &m->cache, &address);

	if (err)
		return err;
	m->keys = address;
	m->values = m->keys + half;
	return 0;
}

static int alloc_scratch(struct model *m, struct buddy_dev *dev, bool talk)
{
	const struct model_config *c = &m->config;
	struct {
		float **part;
		size_t floats;
	} parts[] = {
		{ &m->s.x, (size_t)c->dim },
		{ &m->s.xb, (size_t)c->dim },
		{ &m->s.xb2, (size_t)c->dim },
		{ &m->s.q, (size_t)c->dim },
		{ &m->s.hb, (size_t)c->hidden_dim },
		{ &m->s.hb2, (size_t)c->hidden_dim },
		{ &m->s.scores, (size_t)c->n_heads * (size_t)c->seq_len },
		{ &m->s.logits, (size_t)c->vocab_size },
	};
	const size_t count = sizeof(parts) / sizeof(parts[0]);
	const size_t line = 64 / sizeof(float);
	size_t total = 0;
	void *address;
	int err;

	for (size_t i = 0; i < count; i++) {
		parts[i].floats = (parts[i].floats + line - 1) / line * line;
		total += parts[i].floats;
	}
	err = block_new(dev, total * sizeof(float), "activations", talk,
			&m->scratch, &address);
	if (err)
		return err;
	total = 0;
	for (size_t i = 0; i < count; i++) {
		*parts[i].part = (float *)address + total;
		total += parts[i].floats;
	}
	return 0;
}

int model_load(struct model *m, struct buddy_dev *dev, const char *path,
	       bool talk)
{
	int err;

	memset(m, 0, sizeof(*m));
	err = load_weights(m, dev, path, talk);
	if (!err)
		err = alloc_cache(m, dev, talk);
	if (!err)
		err = alloc_scratch(m, dev, talk);
	if (err)
		model_free(m);
	return err;
}

void model_free(struct model *m)
{
	buddy_block_free(m->scratch);
	buddy_block_free(m->cache);
	buddy_block_free(m->weights);
}

/*
 * Arithmetic
 */

static void rmsnorm(float *out, const float *x, const float *weight, int n)
{
	float ss = 0.0f;

	for (int i = 0; i < n; i++)
		ss += x[i] * x[i];
	ss = 1.0f / sqrtf(ss / (float)n + 1e-5f);
	for (int i = 0; i < n; i++)
		out[i] = weight[i] * (ss * x[i]);
}

void story_softmax(float *x, int n)
{
	float max = x[0], sum = 0.0f;

	for (int i = 1; i < n; i++)
		if (x[i] > max)
			max = x[i];
	for (int i = 0; i < n; i++) {
		x[i] = expf(x[i] - max);
		sum += x[i];
	}
	for (int i = 0; i < n; i++)
		x[i] /= sum;
}

/* out[rows] = w[rows][columns] * x[columns] */
static void matmul(float *out, const float *x, const float *w, int columns,
		   int rows)
{
	for (int i = 0; i < rows; i++) {
		const float *row = w + (size_t)i * (size_t)columns;
		float sum = 0.0f;

		for (int j = 0; j < columns; j++)
			sum += row[j] * x[j];
		out[i] = sum;
	}
}

static void accumulate(float *x, const float *add, int n)
{
	for (int i = 0; i < n; i++)
		x[i] += add[i];
}

/* Rotates the pairs of a vector of @n by an angle that grows with @pos. */
static void rope(float *v, int n, int head_size, int pos)
{
	for (int i = 0; i < n; i += 2) {
		float freq = 1.0f / powf(10000.0f, (float)(i % head_size) /
						   (float)head_size);
		float angle = (float)pos * freq;
		float c = cosf(angle), s = sinf(angle);
		float a = v[i], b = v[i + 1];

		v[i] = a * c - b * s;
		v[i + 1] = a * s + b * c;
	}
}

static void attend(struct model *m, const float *keys, const float *values,
		   int pos)
{
	const struct model_config *c = &m->config;
	int size = c->dim / c->n_heads, shared = c->n_heads / c->n_kv_heads;
	size_t kv = kv_dim(c);

	for (int h = 0; h < c->n_heads; h++) {
		const float *q = m->s.q + h * size;
		float *score = m->s.scores + (size_t)h * (size_t)c->seq_len;
		float *out = m->s.xb + h * size;
		size_t head = (size_t)(h / shared * size);

		for (int t = 0; t <= pos; t++) {
			const float *k = keys + (size_t)t * kv + head;
			float sum = 0.0f;

			for (int i = 0; i < size; i++)
				sum += q[i] * k[i];
			score[t] = sum / sqrtf((float)size);
		}
		story_softmax(score, pos + 1);
		memset(out, 0, (size_t)size * sizeof(*out));
		for (int t = 0; t <= pos; t++) {
			const float *v = values + (size_t)t * kv + head;

			for (int i = 0; i < size; i++)
				out[i] += score[t] * v[i];
		}
	}
}

static void layer_attention(struct model *m, size_t l, int pos)
{
	const struct model_config *c = &m->config;
	struct model_state *s = &m->s;
	size_t dim = (size_t)c->dim, kv = kv_dim(c);
	size_t cache = l * (size_t)c->seq_len * kv;
	float *k = m->keys + cache + (size_t)pos * kv;
	float *v = m->values + cache + (size_t)pos * kv;
	int head = c->dim / c->n_heads;

	rmsnorm(s->xb, s->x, m->w.rms_attention + l * dim, c->dim);
	matmul(s->q, s->xb, m->w.wq + l * dim * dim, c->dim, c->dim);
	matmul(k, s->xb, m->w.wk + l * dim * kv, c->dim, (int)kv);
	matmul(v, s->xb, m->w.wv + l * dim * kv, c->dim, (int)kv);
	rope(s->q, c->dim, head, pos);
	rope(k, (int)kv, head, pos);
	attend(m, m->keys + cache, m->values + cache, pos);
	matmul(s->xb2, s->xb, m->w.wo + l * dim * dim, c->dim, c->dim);
	accumulate(s->x, s->xb2, c->dim);
}

static void layer_ffn(struct model *m, size_t l)
{
	const struct model_config *c = &m->config;
	struct model_state *s = &m->s;
	size_t dim = (size_t)c->dim, hidden = (size_t)c->hidden_dim;

	rmsnorm(s->xb, s->x, m->w.rms_ffn + l * dim, c->dim);
	matmul(s->hb, s->xb, m->w.w1 + l * dim * hidden, c->dim, c->hidden_dim);
	matmul(s->hb2, s->xb, m->w.w3 + l * dim * hidden, c->dim, c->hidden_dim);
	for (int i = 0; i < c->hidden_dim; i++) {
		float x = s->hb[i];

		x *= 1.0f / (1.0f + expf(-x));
		s->hb[i] = x * s->hb2[i];
	}
	matmul(s->xb, s->hb, m->w.w2 + l * dim * hidden, c->hidden_dim, c->dim);
	accumulate(s->x, s->xb, c->dim);
}

float *model_forward(struct model *m, int token, int pos)
{
	const struct model_config *c = &m->config;
	struct model_state *s = &m->s;

	memcpy(s->x, m->w.embedding + (size_t)token * (size_t)c->dim,
	       (size_t)c->dim * sizeof(*s->x));
	for (int l = 0; l < c->n_layers; l++) {
		layer_attention(m, (size_t)l, pos);
		layer_ffn(m, (size_t)l);
	}
	rmsnorm(s->x, s->x, m->w.rms_final, c->dim);
	matmul(s->logits, s->x, m->w.classifier, c->dim, c->vocab_size);
	return s->logits;
}
