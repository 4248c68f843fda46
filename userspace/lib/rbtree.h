/* SPDX-License-Identifier: MIT */
/*
 * rbtree.h - balanced trees with the interface of linux/rbtree.h and
 * linux/rbtree_augmented.h, as much of it as module/core uses.
 *
 * The kernel's code is GPL; core/ is MIT as well, and is a part of libbuddymem. The trees
 * behind this interface are AVL trees.
 *
 * Locking: none; whoever owns the tree serializes all calls.
 */
#ifndef BUDDY_RBTREE_H
#define BUDDY_RBTREE_H

#include <stdbool.h>
#include <stddef.h>

struct rb_node {
	struct rb_node *rb_parent;
	struct rb_node *rb_left;
	struct rb_node *rb_right;
	int rb_height;		/* of a leaf: 1 */
};

struct rb_root {
	struct rb_node *rb_node;
};

/**
 * struct rb_augment_callbacks - what a node knows of its subtree
 * @propagate: computes it anew from a node up, below @stop, until nothing changes
 * @copy: the new node takes the place of the old one
 * @rotate: the new node becomes the parent of the old one
 */
struct rb_augment_callbacks {
	void (*propagate)(struct rb_node *node, struct rb_node *stop);
	void (*copy)(struct rb_node *old, struct rb_node *to);
	void (*rotate)(struct rb_node *old, struct rb_node *to);
};

#define RB_ROOT		((struct rb_root){ NULL })

#define rb_entry(node, type, member) \
	((type *)(void *)((char *)(node) - offsetof(type, member)))
#define rb_parent(node)	((node)->rb_parent)

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);

/* Hangs a leaf where a search has ended; rb_insert_*() follows. */
static inline void rb_link_node(struct rb_node *node, struct rb_node *parent,
				struct rb_node **link)
{
	*node = (struct rb_node){ .rb_parent = parent, .rb_height = 1 };
	*link = node;
}

void rb_insert_augmented(struct rb_node *node, struct rb_root *root,
			 const struct rb_augment_callbacks *augment);
void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *augment);

static inline void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
	rb_insert_augmented(node, root, NULL);
}

static inline void rb_erase(struct rb_node *node, struct rb_root *root)
{
	rb_erase_augmented(node, root, NULL);
}

/* @compute(node, exit): sets @augmented; true: it was so before, and @exit is set. */
#define RB_DECLARE_CALLBACKS(scope, name, type, member, augmented, compute)	\
static void name ## _propagate(struct rb_node *node, struct rb_node *stop)	\
{										\
	for (; node != stop; node = node->rb_parent)				\
		if (compute(rb_entry(node, type, member), true))		\
			break;							\
}										\
static void name ## _copy(struct rb_node *old, struct rb_node *to)		\
{										\
	rb_entry(to, type, member)->augmented =					\
		rb_entry(old, type, member)->augmented;				\
}										\
static void name ## _rotate(struct rb_node *old, struct rb_node *to)		\
{										\
	name ## _copy(old, to);							\
	compute(rb_entry(old, type, member), false);				\
}										\
scope const struct rb_augment_callbacks name = {				\
	.propagate = name ## _propagate,					\
	.copy = name ## _copy,							\
	.rotate = name ## _rotate,						\
}

#endif /* BUDDY_RBTREE_H */
