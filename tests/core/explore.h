/* SPDX-License-Identifier: MIT */
/*
 * explore.h - visits every state that any order of steps leads to, breadth first.
 *
 * A model defines struct state, whose bytes are all of its state, and expand(), which
 * calls explore_reach() for each state that one step leads to, and explore_check() for
 * what must hold. The first violation ends the search; explore_show() prints the
 * shortest steps to it.
 *
 * A model has mutants, each of which leaves one rule out; the search must find a
 * violation in each of them, and none in the model.
 *
 * Idea: explicit-state model checking, as SPIN has it (G. J. Holzmann).
 */
#ifndef EXPLORE_H
#define EXPLORE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPLORE_TABLE	(1u << 22)

struct explore_node {
	struct state state;
	uint32_t from;
	char step[32];
};

/* Its name on the command line, and the rule that it leaves out; 0 leaves out none. */
struct explore_mutant {
	const char *name, *rule;
};

static struct explore_node *explore_nodes;
static uint32_t explore_count, *explore_table;
static const char *explore_violation;

static void expand(const struct state *s, uint32_t at);

static inline void explore_check(bool good, const char *what)
{
	if (!good && !explore_violation)
		explore_violation = what;
}

/* FNV-1a, by Fowler, Noll and Vo. */
static inline uint32_t explore_hash(const struct state *s)
{
	const uint8_t *byte = (const uint8_t *)s;
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < sizeof(*s); i++)
		h = (h ^ byte[i]) * 1099511628211ull;
	return (uint32_t)(h ^ h >> 32) % EXPLORE_TABLE;
}

static inline void explore_reach(const struct state *s, uint32_t from, const char *step)
{
	struct explore_node *node;
	uint32_t at = explore_hash(s);

	while (explore_table[at] &&
	       memcmp(&explore_nodes[explore_table[at]].state, s, sizeof(*s)))
		at = (at + 1) % EXPLORE_TABLE;
	if (explore_table[at])
		return;
	if (explore_count + 1 == EXPLORE_TABLE / 2) {
		puts("Bail out! more states than there is room for");
		exit(1);
	}
	explore_table[at] = ++explore_count;
	node = &explore_nodes[explore_count];
	*node = (struct explore_node){ .state = *s, .from = from };
	snprintf(node->step, sizeof(node->step), "%s", step);
}

/* Return: the number of the state in which the violation was found, or 0. */
static inline uint32_t explore_all(const struct state *first)
{
	uint32_t at = 0;

	memset(explore_table, 0, EXPLORE_TABLE * sizeof(*explore_table));
	explore_count = 0;
	explore_violation = NULL;
	explore_reach(first, 0, "the beginning");
	while (at < explore_count && !explore_violation) {
		struct state s = explore_nodes[++at].state;

		expand(&s, at);
	}
	return explore_violation ? at : 0;
}

static inline void explore_show(uint32_t at)
{
	uint32_t steps[256], n = 0;

	for (; at && n < 256; at = explore_nodes[at].from)
		steps[n++] = at;
	while (n--)
		printf("# %s\n", explore_nodes[steps[n]].step);
	printf("# then: %s\n", explore_violation);
}

/* Tries each of @mutants, or the one that is named; TAP. Return: the exit status. */
static inline int explore_mutants(const struct explore_mutant *mutants, int count,
				  int *mutant, const struct state *first, const char *only)
{
	int failed = 0;

	explore_nodes = calloc(EXPLORE_TABLE / 2, sizeof(*explore_nodes));
	explore_table = calloc(EXPLORE_TABLE, sizeof(*explore_table));
	if (!explore_nodes || !explore_table)
		return 1;
	if (!only)
		printf("1..%d\n", count);
	for (int m = 0; m < count; m++) {
		uint32_t at;
		bool good;

		if (only && strcmp(only, mutants[m].name))
			continue;
		*mutant = m;
		at = explore_all(first);
		good = !at == !m;
		failed += !good;
		printf("%sok %d - %s: %s (%u states)%s%s\n", good ? "" : "not ", 1 + m,
		       mutants[m].name, mutants[m].rule, explore_count,
		       at ? ": without it " : "", at ? explore_violation : "");
		if (at && (!good || only))
			explore_show(at);
	}
	free(explore_nodes);
	free(explore_table);
	return failed > 0;
}

#endif /* EXPLORE_H */
