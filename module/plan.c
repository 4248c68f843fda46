// SPDX-License-Identifier: GPL-2.0-only
/*
 * plan.c - what the parameters of the module ask for: all of it is checked before
 * anything is taken.
 *
 * A plan that is refused is one line in the log: what was asked for, in the words of
 * the parameters, what is there, and parameters that would work.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kernel.h>
#include <linux/nodemask.h>

#include "buddy.h"
#include "core/buddy_size.h"

/*
 * Of the available memory: what is not taken without force=1; what is warned of; and
 * what is proposed, which is less, as what is available changes.
 */
#define MOST_PERCENT	90
#define WARN_PERCENT	80
#define GOOD_PERCENT	75

#define MAX_BYTES	((u64)BUDDY_CORE_MAX_GRANULES << PAGE_SHIFT)
#define LINE		256

/**
 * buddy_plan_node() - The node of a region.
 * @plan: the plan
 * @index: number of the region
 *
 * Return: a NUMA node, or NUMA_NO_NODE for any.
 */
int buddy_plan_node(const struct buddy_plan *plan, int index)
{
	return index < plan->nr_nodes ? plan->nodes[index] : NUMA_NO_NODE;
}

static u64 part_of(u64 bytes, u32 percent)
{
	return round_down(div_u64(bytes, 100) * percent, BUDDY_UNIT);
}

static u64 most_of(u64 bytes)
{
	return part_of(bytes, MOST_PERCENT);
}

static u64 good_of(u64 bytes)
{
	return part_of(bytes, GOOD_PERCENT);
}

/* So much less than the largest range that it may also lie a little lower. */
static u64 less_than(u64 largest)
{
	return largest - ALIGN(largest / 16, BUDDY_UNIT) ?: BUDDY_UNIT;
}

/*
 * Writes a plan as parameters. Sizes that differ in @bytes are written in MiB, others
 * as they were asked for (a plan whose sizes all differ needs no texts). Return: @line.
 */
static const char *plan_text(const struct buddy_plan *plan, const u64 *bytes, char *line)
{
	int n = scnprintf(line, LINE, "size=");

	for (int i = 0; i < plan->nr_sizes; i++) {
		if (bytes[i] == plan->bytes[i])
			n += scnprintf(line + n, LINE - n, "%s%s", i ? "," : "",
				       plan->sizes[i]);
		else
			n += scnprintf(line + n, LINE - n, "%s%lluM", i ? "," : "",
				       bytes[i] >> 20);
	}
	for (int i = 0; i < (plan->nr_nodes ? plan->nr_sizes : 0); i++)
		n += scnprintf(line + n, LINE - n, "%s%d", i ? "," : " node=",
			       buddy_plan_node(plan, i));
	if (plan->force)
		scnprintf(line + n, LINE - n, " force=1");
	return line;
}

/* Proposes as many sizes as nodes: the last size again, or -1 for any node. */
static int count_check(const struct buddy_plan *plan)
{
	char *sizes[BUDDY_MAX_REGIONS], line[LINE];
	struct buddy_plan whole = {
		.sizes = sizes, .nr_sizes = max(plan->nr_sizes, plan->nr_nodes),
		.nodes = plan->nodes, .nr_nodes = plan->nr_nodes,
	};

	if (!plan->nr_nodes || plan->nr_nodes == plan->nr_sizes)
		return 0;
	for (int i = 0; i < whole.nr_sizes; i++)
		sizes[i] = plan->sizes[min(i, plan->nr_sizes - 1)];
	pr_notice("size= has %d and node= %d values: give as many, such as %s\n",
		  plan->nr_sizes, plan->nr_nodes, plan_text(&whole, whole.bytes, line));
	return -EINVAL;
}

static int node_check(int nid)
{
	if (nid == NUMA_NO_NODE || buddy_window_has_node(nid))
		return 0;
	pr_notice("node=%d: no such node; those that have memory are %*pbl, and -1 is any\n",
		  nid, nodemask_pr_args(&node_states[N_MEMORY]));
	return -EINVAL;
}

/* What a percentage is of: the memory of the node, or of the machine. */
static u64 whole_of(int nid)
{
	u64 pages = 0;

	if (nid == NUMA_NO_NODE)
		return (u64)totalram_pages() << PAGE_SHIFT;
	for (int z = 0; z < MAX_NR_ZONES; z++)
		pages += zone_managed_pages(&NODE_DATA(nid)->node_zones[z]);
	return pages << PAGE_SHIFT;
}

static int too_small(const char *text, u64 bytes)
{
	size_t digits = strspn(text, "0123456789");

	if (bytes && !text[digits])
		pr_notice("size=%s: bytes, as there is no unit, and fewer than the minimum of 2 MiB; write size=%sM\n",
			  text, text);
	else
		pr_notice("size=%s: below the minimum of 2 MiB; write size=2M\n", text);
	return -EINVAL;
}

/* The length of a region: its size, rounded up to whole units. */
static int size_check(struct buddy_plan *plan, int index)
{
	const char *text = plan->sizes[index];
	u64 bytes;
	int err = buddy_size_parse(text, whole_of(buddy_plan_node(plan, index)), &bytes);

	if (err == -EINVAL) {
		pr_notice("size=%s: not a size; write for example 64M, 1.5G or 25%%\n",
			  text);
		return err;
	}
	if (err || bytes > MAX_BYTES) {
		pr_notice("size=%s: above the maximum of %lluG\n", text, MAX_BYTES >> 30);
		return -EINVAL;
	}
	if (bytes < BUDDY_UNIT)
		return too_small(text, bytes);
	plan->bytes[index] = ALIGN(bytes, BUDDY_UNIT);
	plan->rounded[index] = bytes != plan->bytes[index] && !strchr(text, '%');
	return 0;
}

/* Is the region one of those on a node (of all, if @nid is NUMA_NO_NODE)? */
static bool is_on(const struct buddy_plan *plan, int index, int nid)
{
	return nid == NUMA_NO_NODE || buddy_plan_node(plan, index) == nid;
}

/* Their lengths together, by @bytes. */
static u64 sum_of(const struct buddy_plan *plan, const u64 *bytes, int nid)
{
	u64 sum = 0;

	for (int i = 0; i < plan->nr_sizes; i++)
		if (is_on(plan, i, nid))
			sum += bytes[i];
	return sum;
}

/*
 * Makes the regions on a node (of all nodes) smaller, in proportion, so that they have
 * at most @most bytes together, but none below the minimum.
 */
static void scale(const struct buddy_plan *plan, int nid, u64 most, u64 *bytes)
{
	u64 sum = sum_of(plan, bytes, nid) / BUDDY_UNIT;

	most /= BUDDY_UNIT;
	for (int i = 0; sum > most && i < plan->nr_sizes; i++) {
		if (!is_on(plan, i, nid))
			continue;
		bytes[i] = (div64_u64(bytes[i] / BUDDY_UNIT * most, sum) ?: 1) * BUDDY_UNIT;
	}
}

/*
 * What is available of the whole machine: of what the kernel says, no more than what
 * lies in zones that regions may come from.
 */
static u64 machine_available(void)
{
	u64 available = (u64)max(si_mem_available(), 0l) << PAGE_SHIFT, sum = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY)
		sum += buddy_window_available(nid);
	return min(available, sum);
}

/* The node that has the most available. */
static int best_node(void)
{
	int best = first_node(node_states[N_MEMORY]), nid;

	for_each_node_state(nid, N_MEMORY)
		if (buddy_window_available(nid) > buddy_window_available(best))
			best = nid;
	return best;
}

/* @bytes, if they can be had in one piece; else what can be, or 0. */
static u64 in_one_piece(int nid, u64 bytes)
{
	struct buddy_window largest;
	u64 found;

	buddy_window_measure(nid, bytes >> PAGE_SHIFT, &largest);
	found = (u64)largest.pages << PAGE_SHIFT;
	return found && found < bytes ? less_than(found) : found;
}

/* Lengths that would work. Return: false if there are none. */
static bool plan_fit(const struct buddy_plan *plan, u64 *bytes)
{
	u64 most = good_of(buddy_window_available(best_node())) ?: BUDDY_UNIT;
	int nid;

	for (int i = 0; i < plan->nr_sizes; i++)
		bytes[i] = min(plan->bytes[i], most);
	for_each_node_state(nid, N_MEMORY)
		scale(plan, nid, good_of(buddy_window_available(nid)), bytes);
	scale(plan, NUMA_NO_NODE, good_of(machine_available()), bytes);
	for (int i = 0; i < plan->nr_sizes; i++) {
		bytes[i] = in_one_piece(buddy_plan_node(plan, i), bytes[i]);
		if (!bytes[i])
			return false;
	}
	return true;
}

/**
 * buddy_plan_share() - Divide units among nodes, by what each of them has.
 * @units: units, at most what all nodes have together
 * @has: units that each node has, at least 1
 * @count: number of nodes
 * @share: units of each node, at most what it has
 */
void buddy_plan_share(u64 units, const u64 *has, int count, u64 *share)
{
	u64 left = 0;

	for (int i = 0; i < count; i++)
		left += has[i];
	/* what is left to divide, by what the nodes that are left have */
	for (int i = 0; i < count; i++) {
		share[i] = div64_u64(units * has[i] + left - 1, left);
		left -= has[i];
		units -= share[i];
	}
}

/*
 * Parameters for @pieces regions on so many nodes, as long as these have memory,
 * instead of one of @bytes. Return: NULL if they have less, or not in one piece.
 */
static const char *split_text(u64 bytes, int pieces, char *line)
{
	u64 most = 0, has[BUDDY_MAX_REGIONS], share[BUDDY_MAX_REGIONS];
	int nodes[BUDDY_MAX_REGIONS], found = 0, nid;
	struct buddy_plan split = { .nr_sizes = pieces, .nodes = nodes, .nr_nodes = pieces };

	for_each_node_state(nid, N_MEMORY) {
		u64 units = good_of(buddy_window_available(nid)) / BUDDY_UNIT;

		if (found == pieces || !units)
			continue;
		nodes[found] = nid;
		has[found++] = units;
		most += units;
	}
	if (found < pieces || most < bytes / BUDDY_UNIT)
		return NULL;
	buddy_plan_share(bytes / BUDDY_UNIT, has, pieces, share);
	for (int i = 0; i < pieces; i++) {
		share[i] *= BUDDY_UNIT;
		if (!share[i] || in_one_piece(nodes[i], share[i]) < share[i])
			return NULL;
	}
	return plan_text(&split, share, line);
}

/* Return: -ENOMEM, having said what @where has, and what would work. */
static int refuse(const struct buddy_plan *plan, const char *where, u64 available)
{
	bool splits = plan->nr_sizes == 1 && !plan->nr_nodes;
	char asked[LINE], line[LINE];
	u64 bytes[BUDDY_MAX_REGIONS];
	const char *works = NULL;

	for (int pieces = 2; splits && !works && pieces <= BUDDY_MAX_REGIONS; pieces++)
		works = split_text(plan->bytes[0], pieces, line);
	if (!works && plan_fit(plan, bytes))
		works = plan_text(plan, bytes, line);
	pr_notice("%s: %s has %llu MiB available, of which regions may take %llu MiB (%d %%): %s%s, or add force=1\n",
		  plan_text(plan, plan->bytes, asked), where, available >> 20,
		  most_of(available) >> 20, MOST_PERCENT, works ? "write " : "free memory",
		  works ?: "");
	return -ENOMEM;
}

static int nodes_check(const struct buddy_plan *plan)
{
	int best = best_node(), nid;
	char where[48];

	for_each_node_state(nid, N_MEMORY) {
		u64 available = buddy_window_available(nid);

		scnprintf(where, sizeof(where), "node %d", nid);
		if (sum_of(plan, plan->bytes, nid) > most_of(available))
			return refuse(plan, where, available);
	}
	scnprintf(where, sizeof(where), "no node has so much: node %d", best);
	for (int i = 0; num_node_state(N_MEMORY) > 1 && i < plan->nr_sizes; i++)
		if (plan->bytes[i] > most_of(buddy_window_available(best)))
			return refuse(plan, where, buddy_window_available(best));
	return 0;
}

static int machine_check(const struct buddy_plan *plan)
{
	u64 available = machine_available();
	u64 sum = sum_of(plan, plan->bytes, NUMA_NO_NODE);
	char asked[LINE];

	if (sum > most_of(available) && !plan->force)
		return refuse(plan, "the machine", available);
	if (sum > div_u64(available, 100) * WARN_PERCENT)
		pr_warn("%s: this leaves %llu MiB of the %llu MiB that are available; programs may be killed for lack of memory\n",
			plan_text(plan, plan->bytes, asked),
			(available - min(available, sum)) >> 20, available >> 20);
	return 0;
}

/**
 * buddy_plan_check() - Check all parameters, and fill the lengths of the regions.
 * @plan: the plan
 *
 * A plan that would leave the system less than a tenth of the available memory is
 * refused, unless it is forced. To tell what would work instead, memory is taken, and
 * put back: may sleep for seconds.
 *
 * Return: 0; -EINVAL (a size, a node or the number of them is wrong), -ENOMEM (there is
 * not so much). The log has the reason.
 */
int buddy_plan_check(struct buddy_plan *plan)
{
	int err = count_check(plan);

	for (int i = 0; !err && i < plan->nr_nodes; i++)
		err = node_check(plan->nodes[i]);
	for (int i = 0; !err && i < plan->nr_sizes; i++)
		err = size_check(plan, i);
	if (!err && !plan->force)
		err = nodes_check(plan);
	if (!err)
		err = machine_check(plan);
	for (int i = 0; !err && i < plan->nr_sizes; i++)
		if (plan->rounded[i])
			pr_info("size=%s: rounded up to %llu MiB, a multiple of 2 MiB\n",
				plan->sizes[i], plan->bytes[i] >> 20);
	return err;
}

/**
 * buddy_plan_failed() - Say why a region could not be made, and what would work.
 * @plan: the plan
 * @index: number of the region
 * @largest: the largest range there was instead; more than the region: other memory
 *           was short
 */
void buddy_plan_failed(const struct buddy_plan *plan, int index,
		       const struct buddy_window *largest)
{
	u64 found = (u64)largest->pages << PAGE_SHIFT, bytes[BUDDY_MAX_REGIONS];
	char asked[LINE], works[LINE];

	plan_text(plan, plan->bytes, asked);
	if (largest->pages >= plan->bytes[index] >> PAGE_SHIFT) {
		pr_notice("%s: no memory for the tables of the region\n", asked);
		return;
	}
	if (!found) {
		pr_notice("%s: no contiguous range of 2 MiB; free memory, or load the module earlier\n",
			  asked);
		return;
	}
	memcpy(bytes, plan->bytes, sizeof(bytes));
	bytes[index] = less_than(found);
	pr_notice("%s: no contiguous range of %llu MiB; the largest is %llu MiB, on node %d: write %s, free memory, or load the module earlier\n",
		  asked, plan->bytes[index] >> 20, found >> 20, largest->node,
		  plan_text(plan, bytes, works));
}
