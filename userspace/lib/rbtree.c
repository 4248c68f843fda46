// SPDX-License-Identifier: MIT
/*
 * rbtree.c - AVL trees behind the interface of linux/rbtree.h.
 *
 * Invariant: the heights of the two subtrees of a node differ by one at most, so a tree
 * of n nodes is lower than 1.45 log2(n). Rotations call augment->rotate(), and what is
 * taken out is replaced by the next node, as in the kernel.
 */
#include "rbtree.h"

static int height(const struct rb_node *node)
{
	return node ? node->rb_height : 0;
}

static void update_height(struct rb_node *node)
{
	int left = height(node->rb_left), right = height(node->rb_right);

	node->rb_height = (left > right ? left : right) + 1;
}

/* @to takes the place of @old below its parent. */
static void replace(struct rb_root *root, struct rb_node *old, struct rb_node *to)
{
	struct rb_node *parent = old->rb_parent;

	if (!parent)
		root->rb_node = to;
	else if (parent->rb_left == old)
		parent->rb_left = to;
	else
		parent->rb_right = to;
	if (to)
		to->rb_parent = parent;
}

/* The child of @node on that side becomes its parent. */
static struct rb_node *rotate(struct rb_root *root, struct rb_node *node, bool left,
			      const struct rb_augment_callbacks *augment)
{
	struct rb_node *child = left ? node->rb_left : node->rb_right;
	struct rb_node *middle = left ? child->rb_right : child->rb_left;

	replace(root, node, child);
	if (left) {
		node->rb_left = middle;
		child->rb_right = node;
	} else {
		node->rb_right = middle;
		child->rb_left = node;
	}
	node->rb_parent = child;
	if (middle)
		middle->rb_parent = node;
	update_height(node);
	update_height(child);
	if (augment)
		augment->rotate(node, child);
	return child;
}

/* One subtree is higher by two than the other. Return: the node that is now above. */
static struct rb_node *rotate_higher(struct rb_root *root, struct rb_node *node, bool left,
				     const struct rb_augment_callbacks *augment)
{
	struct rb_node *child = left ? node->rb_left : node->rb_right;
	struct rb_node *inner = left ? child->rb_right : child->rb_left;
	struct rb_node *outer = left ? child->rb_left : child->rb_right;

	if (height(inner) > height(outer))
		rotate(root, child, !left, augment);
	return rotate(root, node, left, augment);
}

/* The height of a child of @node may have changed. */
static void rebalance(struct rb_root *root, struct rb_node *node,
		      const struct rb_augment_callbacks *augment)
{
	for (; node; node = node->rb_parent) {
		int was = node->rb_height;
		int more = height(node->rb_left) - height(node->rb_right);

		update_height(node);
		if (more > 1 || more < -1)
			node = rotate_higher(root, node, more > 1, augment);
		if (node->rb_height == was)
			break;
	}
}

void rb_insert_augmented(struct rb_node *node, struct rb_root *root,
			 const struct rb_augment_callbacks *augment)
{
	rebalance(root, node->rb_parent, augment);
}

/* The next node, which is below @node, takes its place. */
static struct rb_node *replace_by_next(struct rb_root *root, struct rb_node *node,
				       const struct rb_augment_callbacks *augment)
{
	struct rb_node *next = rb_next(node), *from = next->rb_parent;

	if (from == node) {
		from = next;
	} else {
		replace(root, next, next->rb_right);
		next->rb_right = node->rb_right;
		next->rb_right->rb_parent = next;
	}
	replace(root, node, next);
	next->rb_left = node->rb_left;
	next->rb_left->rb_parent = next;
	next->rb_height = node->rb_height;
	if (augment) {
		augment->copy(node, next);
		augment->propagate(from, next);
	}
	return from;
}

void rb_erase_augmented(struct rb_node *node, struct rb_root *root,
			const struct rb_augment_callbacks *augment)
{
	struct rb_node *from = node->rb_parent, *above = from;

	if (node->rb_left && node->rb_right) {
		from = replace_by_next(root, node, augment);
		above = from;
		/* what has been replaced is above all that has changed */
		while (above->rb_left != node->rb_left)
			above = above->rb_parent;
	} else {
		replace(root, node, node->rb_left ? node->rb_left : node->rb_right);
	}
	if (augment)
		augment->propagate(above, NULL);
	rebalance(root, from, augment);
}

static struct rb_node *end_of(struct rb_node *node, bool left)
{
	struct rb_node *next = node;

	while (next) {
		node = next;
		next = left ? node->rb_left : node->rb_right;
	}
	return node;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	return end_of(root->rb_node, true);
}

struct rb_node *rb_last(const struct rb_root *root)
{
	return end_of(root->rb_node, false);
}

struct rb_node *rb_next(const struct rb_node *node)
{
	const struct rb_node *child = node;

	if (node->rb_right)
		return end_of(node->rb_right, true);
	for (node = node->rb_parent; node && node->rb_right == child; node = node->rb_parent)
		child = node;
	return (struct rb_node *)node;
}
