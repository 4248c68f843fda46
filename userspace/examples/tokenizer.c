// SPDX-License-Identifier: MIT
/*
 * tokenizer.c - text to tokens and back, with a llama2.c tokenizer file: byte
 * pair encoding, merging the pair with the best score first.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "story.h"

#define MAX_PIECE	1024u

static struct tokenizer *sorting;

static int by_piece(const void *a, const void *b)
{
	return strcmp(sorting->pieces[*(const int *)a],
		      sorting->pieces[*(const int *)b]);
}

static int read_piece(FILE *file, struct tokenizer *t, int token)
{
	int32_t length;
	char *piece;

	if (fread(&t->scores[token], sizeof(float), 1, file) != 1 ||
	    fread(&length, sizeof(length), 1, file) != 1 || length < 0 ||
	    (uint32_t)length > MAX_PIECE)
		return -EINVAL;
	piece = calloc(1, (size_t)length + 1);
	if (!piece)
		return -ENOMEM;
	t->pieces[token] = piece;
	return fread(piece, 1, (size_t)length, file) == (size_t)length ? 0 :
								 -EINVAL;
}

int tokenizer_load(struct tokenizer *t, const char *path, int count)
{
	FILE *file = fopen(path, "rbe");
	int err = 0;

	if (!file)
		return -errno;
	*t = (struct tokenizer){
		.pieces = calloc((size_t)count, sizeof(*t->pieces)),
		.scores = calloc((size_t)count, sizeof(*t->scores)),
		.sorted = calloc((size_t)count, sizeof(*t->sorted)),
		.count = count,
	};
	if (!t->pieces || !t->scores || !t->sorted)
		err = -ENOMEM;
	else if (fread(&t->max_length, sizeof(t->max_length), 1, file) != 1 ||
		 t->max_length > MAX_PIECE)
		err = -EINVAL;
	for (int i = 0; i < count && !err; i++) {
		err = read_piece(file, t, i);
		t->sorted[i] = i;
	}
	fclose(file);
	if (err) {
		if (err == -EINVAL)
			fprintf(stderr, "story: %s is no tokenizer of %d tokens\n",
				path, count);
		tokenizer_free(t);
		return err;
	}
	sorting = t;
	qsort(t->sorted, (size_t)count, sizeof(*t->sorted), by_piece);
	return 0;
}

void tokenizer_free(struct tokenizer *t)
{
	for (int i = 0; t->pieces && i < t->count; i++)
		free(t->pieces[i]);
	free(t->pieces);
	free(t->scores);
	free(t->sorted);
}

/* The token of a piece, or -1. */
static int find(const struct tokenizer *t, const char *piece)
{
	int low = 0, high = t->count - 1;

	while (low <= high) {
		int middle = (low + high) / 2;
		int token = t->sorted[middle];
		int order = strcmp(piece, t->pieces[token]);

		if (!order)
			return token;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

/* The piece of two tokens together, or -1. */
static int find_pair(const struct tokenizer *t, int a, int b)
{
	char both[2 * MAX_PIECE + 1];

	strcpy(both, t->pieces[a]);
	strcat(both, t->pieces[b]);
	return find(t, both);
}

/* Merges the best pair. Return: how many tokens there are then. */
static int merge_best(const struct tokenizer *t, int *tokens, int n)
{
	int best = -1, best_token = -1;

	for (int i = 0; i + 1 < n; i++) {
		int token = find_pair(t, tokens[i], tokens[i + 1]);

		if (token >= 0 &&
		    (best < 0 || t->scores[token] > t->scores[best_token])) {
			best = i;
			best_token = token;
		}
	}
	if (best < 0)
		return n;
	tokens[best] = best_token;
	memmove(tokens + best + 1, tokens + best + 2,
		(size_t)(n - best - 2) * sizeof(*tokens));
	return n - 1;
}

/* One character: its token, or else that of each of its bytes. */
static int encode_character(const struct tokenizer *t, const char *bytes,
			    int length, int *tokens)
{
	char piece[5] = "";
	int token;

	memcpy(piece, bytes, (size_t)length);
	token = find(t, piece);
	if (token >= 0) {
		tokens[0] = token;
		return 1;
	}
	for (int i = 0; i < length; i++) {
		token = (unsigned char)bytes[i] + TOKEN_BYTES;
		tokens[i] = token < t->count ? token : 0;
	}
	return length;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int *tokens)
{
	int n = 0, before;

	tokens[n++] = TOKEN_BOS;
	if (!*text)
		return n;
	n += encode_character(t, " ", 1, tokens + n);
	while (*text) {
		int length = 1;

		/* the bytes that continue a UTF-8 character */
		while (length < 4 && (text[length] & 0xc0) == 0x80)
			length++;
		n += encode_character(t, text, length, tokens + n);
		text += length;
	}
	do {
		before = n;
		n = merge_best(t, tokens, n);
	} while (n < before);
	return n;
}

void tokenizer_print(const struct tokenizer *t, int before, int token, FILE *to)
{
	const char *piece = t->pieces[token];
	unsigned int byte;

	/* the space that every text begins with is not part of it */
	if (before == TOKEN_BOS && *piece == ' ')
		piece++;
	if (sscanf(piece, "<0x%02X>", &byte) == 1) {
		if (isprint((int)byte) || isspace((int)byte))
			fputc((int)byte, to);
		return;
	}
	if (piece[0] && !piece[1] && !isprint((unsigned char)*piece) &&
	    !isspace((unsigned char)*piece))
		return;
	fputs(piece, to);
}
