// SPDX-License-Identifier: MIT
/*
 * story.c - text from a llama-architecture model whose weights, KV cache and
 * activations all live in blocks of a buddy device.
 *
 *   story CHECKPOINT -z TOKENIZER [-t 0] [-n 256] [-i PROMPT]
 *
 * Reads the checkpoint (version 0) and tokenizer formats of llama2.c. The text,
 * and nothing else, goes to standard output as it is generated.
 *
 * The parts: tokenizer.c (text to tokens and back), model.c (the network and
 * its memory), this file (options, sampling, the loop).
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "story.h"

struct options {
	const char *checkpoint;
	const char *tokenizer;
	const char *prompt;
	const char *hook;
	float temperature;
	float top_p;
	long steps;
	uint64_t seed;
	bool quiet;
};

static const char usage[] =
"usage: story CHECKPOINT -z TOKENIZER [OPTION...]\n"
"\n"
"Generates text. Weights, KV cache and activations live in blocks of /dev/buddy,\n"
"or of the process where there is no such device (BUDDY_BACKEND=device|process).\n"
"\n"
"  -z FILE    tokenizer (required)\n"
"  -i TEXT    begin with this (default: nothing)\n"
"  -n N       stop after N tokens, the prompt's included (default 256; 0: as many\n"
"             as the model has room for)\n"
"  -t T       temperature: 0 always takes the likeliest token (default 0)\n"
"  -p P       with -t: choose among the likeliest tokens of together P (default 0.9)\n"
"  -s N       with -t: seed (default: the time)\n"
"  -x COMMAND run this shell command before the memory is given back\n"
"  -q         no messages on standard error\n"
"  -h         this help\n"
"\n"
"Exit status: 0; 1 for a failure; 2 for wrong usage.\n";

static void die(const char *what, const char *why)
{
	fprintf(stderr, "story: %s: %s\n", what, why);
	exit(1);
}

static double number(const char *text, double min, double max, char option)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= min && value <= max)) {
		fprintf(stderr, "story: -%c %s: wanted a number from %g to %g\n",
			option, text, min, max);
		exit(2);
	}
	return value;
}

static struct options parse(int argc, char **argv)
{
	struct options o = {
		.prompt = "",
		.top_p = 0.9f,
		.steps = 256,
		.seed = (uint64_t)time(NULL),
	};
	int c;

	while ((c = getopt(argc, argv, "z:i:n:t:p:s:x:qh")) != -1) {
		switch (c) {
		case 'z':
			o.tokenizer = optarg;
			break;
		case 'i':
			o.prompt = optarg;
			break;
		case 'n':
			o.steps = (long)number(optarg, 0, 1e9, 'n');
			break;
		case 't':
			o.temperature = (float)number(optarg, 0, 100, 't');
			/* below, logits divided by it overflow: likeliest */
			if (o.temperature < 0.01f)
				o.temperature = 0;
			break;
		case 'p':
			o.top_p = (float)number(optarg, 0, 1, 'p');
			break;
		case 's':
			o.seed = (uint64_t)number(optarg, 0, 1e15, 's');
			break;
		case 'x':
			o.hook = optarg;
			break;
		case 'q':
			o.quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind + 1 != argc || !o.tokenizer) {
		fputs(usage, stderr);
		exit(2);
	}
	o.checkpoint = argv[optind];
	return o;
}

/*
 * Sampling
 */

static float rnd(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	uint64_t z = *state;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (float)((z ^ z >> 31) >> 40) / 16777216.0f;
}

static int likeliest(const float *logits, int n)
{
	int best = 0;

	for (int i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/*
 * One of the likeliest tokens that together have the probability top_p. Takes
 * them out of @p one by one, the likeliest first: few have most of it.
 */
static int sample(float *p, int n, const struct options *o, uint64_t *state)
{
	float total = 0, aim, sum = 0;
	int token = 0;

	for (int i = 0; i < n; i++)
		p[i] /= o->temperature;
	story_softmax(p, n);
	float *copy = malloc(sizeof(*p) * (size_t)n);

	if (!copy)
		die("sampling", strerror(ENOMEM));
	memcpy(copy, p, sizeof(*p) * (size_t)n);
	for (int k = 0; k < n && total < o->top_p; k++) {
		int best = likeliest(copy, n);

		total += copy[best];
		copy[best] = 0;
	}
	aim = rnd(state) * total;
	for (int k = 0; k < n && sum <= aim; k++) {
		token = likeliest(p, n);
		sum += p[token];
		p[token] = 0;
	}
	free(copy);
	return token;
}

/*
 * The loop. Return: tokens generated.
 */
static long generate(struct model *m, const struct tokenizer *t,
		     const struct options *o)
{
	long steps = o->steps && o->steps < m->config.seq_len ?
		     o->steps : m->config.seq_len;
	int *prompt = calloc(strlen(o->prompt) + 3, sizeof(*prompt));
	int nr_prompt, token;
	uint64_t state = o->seed;
	long pos = 0;

	if (!prompt)
		die("prompt", strerror(ENOMEM));
	nr_prompt = tokenizer_encode(t, o->prompt, prompt);
	token = prompt[0];
	while (pos < steps) {
		float *logits = model_forward(m, token, (int)pos);
		int next;

		pos++;
		if (pos < nr_prompt)
			next = prompt[pos];
		else if (o->temperature == 0)
			next = likeliest(logits, m->config.vocab_size);
		else
			next = sample(logits, m->config.vocab_size, o, &state);
		if (next == TOKEN_BOS)
			break;
		tokenizer_print(t, token, next, stdout);
		fflush(stdout);
		token = next;
	}
	putchar('\n');
	free(prompt);
	return pos;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);
	struct buddy_dev *dev;
	struct tokenizer t;
	struct model m;
	double began;
	long tokens;
	int err;

	err = buddy_dev_open(&dev, BUDDY_BACKEND_DEFAULT, NULL, 0);
	if (err)
		die("buddy device", buddy_error());
	err = model_load(&m, dev, o.checkpoint, !o.quiet);
	if (err)
		die(o.checkpoint, err == -EINVAL ? "not usable" : strerror(-err));
	err = tokenizer_load(&t, o.tokenizer, m.config.vocab_size);
	if (err)
		die(o.tokenizer, err == -EINVAL ? "not usable" : strerror(-err));
	began = now();
	tokens = generate(&m, &t, &o);
	if (fflush(stdout) || ferror(stdout))
		die("standard output", strerror(EIO));
	if (!o.quiet)
		fprintf(stderr, "story: %ld tokens, %.1f a second\n", tokens,
			(double)tokens / (now() - began));
	if (o.hook && system(o.hook))
		fprintf(stderr, "story: -x %s: failed\n", o.hook);
	tokenizer_free(&t);
	model_free(&m);
	buddy_dev_close(dev);
	return 0;
}
