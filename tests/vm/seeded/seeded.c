// SPDX-License-Identifier: GPL-2.0-only
/*
 * seeded.c - seeded bugs: what shows that the checkers of a kernel can fire.
 *
 * A module for tests/vm/seeded_test and for nothing else. `echo NAME >
 * /sys/kernel/debug/seeded` commits the crime of that name in the table below, once,
 * in the context of the writer, who may die of it. Nothing is cleaned up: the guest
 * goes down with it.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

/* A number that the compiler does not know. */
static size_t hidden(size_t n)
{
	OPTIMIZER_HIDE_VAR(n);
	return n;
}

/* KASAN */

static void out_of_bounds(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	WRITE_ONCE(p[hidden(64)], 1);
	kfree(p);
}

static void out_of_bounds_memset(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	memset(p, 0, hidden(65));
	kfree(p);
}

static void out_of_bounds_memcpy(void)
{
	char *p = kmalloc(64, GFP_KERNEL), *q = kzalloc(128, GFP_KERNEL);

	memcpy(p, q, hidden(65));
	kfree(p);
	kfree(q);
}

static void out_of_bounds_vmalloc(void)
{
	char *p = vmalloc(100);

	WRITE_ONCE(p[hidden(100)], 1);
	vfree(p);
}

static void use_after_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(p[8], 1);
}

static void free_twice(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	kfree(p);
}

/* lockdep */

static DEFINE_MUTEX(lock_a);
static DEFINE_MUTEX(lock_b);

static void deadlock(void)
{
	mutex_lock(&lock_a);
	mutex_lock(&lock_b);
	mutex_unlock(&lock_b);
	mutex_unlock(&lock_a);

	mutex_lock(&lock_b);
	mutex_lock(&lock_a);
	mutex_unlock(&lock_a);
	mutex_unlock(&lock_b);
}

static void not_held(void)
{
	lockdep_assert_held(&lock_a);
}

static void rcu_unlocked(void)
{
	static int __rcu *p;

	(void)rcu_dereference(p);
}

static void sleep_in_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

/* kmemleak: ten, since an old word on a stack may still point to the last. */

static void leak(void)
{
	for (int i = 0; i < 10; i++) {
		char *p = kmalloc(1000, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

/* DEBUG_VM: the page is not locked */

static void vm_bug(void)
{
	unlock_page(alloc_page(GFP_KERNEL));
}

/* PAGE_TABLE_CHECK: an entry goes that nobody has seen come */

static int pte_found(pte_t *pte, unsigned long address, void *found)
{
	*(pte_t **)found = pte;
	return 0;
}

static void page_table(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long at = vm_mmap(NULL, 0, PAGE_SIZE, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS, 0);
	pte_t *pte;

	if (IS_ERR_VALUE(at) ||
	    apply_to_page_range(current->mm, at, PAGE_SIZE, pte_found, &pte))
		return;
	native_set_pte(pte, mk_pte(page, PAGE_READONLY));
	ptep_get_and_clear(current->mm, at, pte);
}

/* DEBUG_LIST, DEBUG_SG, refcount_t, and what every kernel has */

static void list_corrupted(void)
{
	static LIST_HEAD(head);
	static struct list_head a, b;

	list_add(&a, &head);
	head.next = &b;
	list_del(&a);
}

static void sg_of_chain(void)
{
	struct scatterlist a[2], b[2];

	sg_init_table(a, 2);
	sg_init_table(b, 2);
	sg_chain(a, 2, b);
	put_page(sg_page(&a[hidden(1)]));
}

static void underflow(void)
{
	refcount_t count = REFCOUNT_INIT(1);

	(void)!refcount_dec_and_test(&count);
	(void)!refcount_dec_and_test(&count);
}

static void warn(void)
{
	WARN_ON(hidden(1));
}

static void bug(void)
{
	BUG_ON(hidden(1));
}

static void null(void)
{
	WRITE_ONCE(*(int *)hidden(8), 1);
}

/* Watchdogs: the test makes them impatient, 1 s. */

static void hang(void)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule_timeout(5 * HZ);
}

/* A work that only takes long would make room for the next one at a tick. */
static void spin(struct work_struct *work)
{
	unsigned long end = jiffies + 4 * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

static void nothing(struct work_struct *work) { }

static DECLARE_WORK(work_spin, spin);
static DECLARE_WORK(work_behind, nothing);

static void workqueue_stuck(void)
{
	schedule_work_on(0, &work_spin);
	schedule_work_on(0, &work_behind);
	flush_work(&work_behind);
}

/* KCSAN: two threads, and no lock. */

static long raced;
static bool race_on;

static int race_write(void *unused)
{
	while (READ_ONCE(race_on)) {
		raced++;
		cond_resched();
	}
	return 0;
}

static void race(void)
{
	unsigned long end = jiffies + 10 * HZ;
	struct task_struct *other;
	long sum = 0;

	race_on = true;
	other = kthread_run(race_write, NULL, "seeded");
	if (IS_ERR(other))
		return;
	get_task_struct(other);
	while (time_before(jiffies, end)) {
		sum += raced;
		OPTIMIZER_HIDE_VAR(sum);
		cond_resched();
	}
	WRITE_ONCE(race_on, false);
	kthread_stop(other);
	put_task_struct(other);
}

static const struct {
	const char *name;
	void (*commit)(void);
} crimes[] = {
	{ "out_of_bounds", out_of_bounds },
	{ "out_of_bounds_memset", out_of_bounds_memset },
	{ "out_of_bounds_memcpy", out_of_bounds_memcpy },
	{ "out_of_bounds_vmalloc", out_of_bounds_vmalloc },
	{ "use_after_free", use_after_free },
	{ "free_twice", free_twice },
	{ "deadlock", deadlock },
	{ "not_held", not_held },
	{ "rcu_unlocked", rcu_unlocked },
	{ "sleep_in_atomic", sleep_in_atomic },
	{ "leak", leak },
	{ "vm_bug", vm_bug },
	{ "page_table", page_table },
	{ "list_corrupted", list_corrupted },
	{ "sg_of_chain", sg_of_chain },
	{ "underflow", underflow },
	{ "warn", warn },
	{ "bug", bug },
	{ "null", null },
	{ "hang", hang },
	{ "workqueue_stuck", workqueue_stuck },
	{ "race", race },
};

static ssize_t seeded_write(struct file *file, const char __user *from, size_t length,
			    loff_t *at)
{
	char name[32] = "";

	if (length >= sizeof(name) || copy_from_user(name, from, length))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(crimes); i++) {
		if (!strcmp(strim(name), crimes[i].name)) {
			crimes[i].commit();
			return length;
		}
	}
	return -ENOENT;
}

static const struct file_operations seeded_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = seeded_write,
};

static int __init seeded_init(void)
{
	debugfs_create_file("seeded", 0200, NULL, NULL, &seeded_fops);
	return 0;
}
module_init(seeded_init);

MODULE_DESCRIPTION("Crimes that checkers must see");
MODULE_LICENSE("GPL");
