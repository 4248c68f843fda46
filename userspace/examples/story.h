/* SPDX-License-Identifier: MIT */
/*
 * story.h - the parts of the text generator: model and tokenizer.
 */
#ifndef STORY_H
#define STORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <buddy_mem.h>

/* The head of a checkpoint, as in the file. */
struct model_config {
	int32_t dim;
	int32_t hidden_dim;
	int32_t n_layers;
	int32_t n_heads;
	int32_t n_kv_heads;
	int32_t vocab_size;	/* in the file negative: own classifier weights */
	int32_t seq_len;
};

/* Weights, all in the block @weights; [rows][columns] or [layer][...]. */
struct model_weights {
	const float *embedding;		/* [vocab][dim] */
	const float *rms_attention;	/* [layer][dim] */
	const float *wq;		/* [layer][dim][dim] */
	const float *wk;		/* [layer][kv_dim][dim] */
	const float *wv;		/* [layer][kv_dim][dim] */
	const float *wo;		/* [layer][dim][dim] */
	const float *rms_ffn;		/* [layer][dim] */
	const float *w1;		/* [layer][hidden][dim] */
	const float *w2;		/* [layer][dim][hidden] */
	const float *w3;		/* [layer][hidden][dim] */
	const float *rms_final;		/* [dim] */
	const float *classifier;	/* [vocab][dim] */
};

/* What one token needs on its way, all in the block @scratch. */
struct model_state {
	float *x, *xb, *xb2;		/* [dim] */
	float *q;			/* [dim] */
	float *hb, *hb2;		/* [hidden] */
	float *scores;			/* [heads][seq_len] */
	float *logits;			/* [vocab] */
};

struct model {
	struct model_config config;
	struct model_weights w;
	struct model_state s;
	float *keys;			/* [layer][seq_len][kv_dim] */
	float *values;			/* [layer][seq_len][kv_dim] */
	struct buddy_block *weights, *cache, *scratch;
};

/*
 * model_load() reads a checkpoint with O_DIRECT straight into a block, and
 * allocates the other two. Return: 0; -EINVAL where the file is no checkpoint,
 * with a message; other negative errnos.
 */
int model_load(struct model *m, struct buddy_dev *dev, const char *path,
	       bool talk);
void model_free(struct model *m);

/* The logits of the token that follows @token at position @pos. */
float *model_forward(struct model *m, int token, int pos);

void story_softmax(float *x, int n);

#define TOKEN_BOS	1
#define TOKEN_BYTES	3	/* the token of byte 0 */

struct tokenizer {
	char **pieces;		/* by token */
	float *scores;
	int *sorted;		/* tokens in order of strcmp() of their pieces */
	int count;
	uint32_t max_length;
};

/* Return: 0; -EINVAL where the file is no tokenizer of @count tokens. */
int tokenizer_load(struct tokenizer *t, const char *path, int count);
void tokenizer_free(struct tokenizer *t);

/* @tokens has room for strlen(text) + 3. Return: their number, BOS included. */
int tokenizer_encode(const struct tokenizer *t, const char *text, int *tokens);

/* Prints @token, which follows @before. */
void tokenizer_print(const struct tokenizer *t, int before, int token, FILE *to);

#endif /* STORY_H */
