// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctl.c - the commands of /dev/buddy: what enters is checked here.
 *
 * One table, one dispatcher: a handler finds the caller's struct already copied
 * in, its size settled, and copies nothing but the reply (call_reply()).
 * The manual of the commands, and the meaning of each errno, is linux/buddy.h.
 */
#include <linux/file.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "buddy.h"
#include "core/buddy_request.h"

/**
 * struct buddy_call - one ioctl on its way through a handler
 * @file: whose call it is, on a node
 * @block: which block, on a block fd
 * @user: the caller's struct
 * @user_size: what the caller says it is long
 * @size: what the kernel's is long
 * @u: the kernel's copy
 */
struct buddy_call {
	struct buddy_file *file;
	struct buddy_kblock *block;
	void __user *user;
	u32 user_size;
	u32 size;
	union {
		struct buddy_info info;
		struct buddy_alloc alloc;
		struct buddy_free free;
		struct buddy_stats stats;
		struct buddy_extents extents;
		struct buddy_share share;
		struct buddy_block_info block_info;
		struct buddy_resize resize;
		struct buddy_batch batch;
	} u;
};

/* Copies the struct back, as much as the caller has room for. */
static int call_reply(struct buddy_call *call)
{
	/* @size stays the caller's: it may be used again with this struct. */
	call->u.info.size = call->user_size;
	if (copy_to_user(call->user, &call->u, min(call->user_size, call->size)))
		return -EFAULT;
	return 0;
}

static u64 features(const struct buddy_region *region, bool contiguous)
{
	return (contiguous ? BUDDY_FEATURE_CONTIGUOUS : 0) |
	       (region->folios ? BUDDY_FEATURE_HUGE : 0);
}

static int do_info(struct buddy_call *call)
{
	const struct buddy_region *region = call->file->region;
	struct buddy_info *info = &call->u.info;

	if (info->flags || info->reserved)
		return -EINVAL;
	*info = (struct buddy_info){
		.out_abi_version = BUDDY_ABI_VERSION,
		.out_granule = PAGE_SIZE,
		.out_region = buddy_bytes(region->pages),
		.out_max_align = BUDDY_MAX_ALIGN,
		.out_base_align = region->base_align,
		.out_features = features(region, true),
		.out_node = region->node,
	};
	return call_reply(call);
}

/* No memory: the reply says what there is. */
static int alloc_shortage(struct buddy_call *call)
{
	buddy_stats_shortage(call->file, &call->u.alloc);
	return call_reply(call) ?: -ENOMEM;
}

#define ALLOC_FLAGS	(BUDDY_ALLOC_POW2 | BUDDY_ALLOC_SCATTER | BUDDY_ALLOC_ALONE)

/*
 * ALLOC up to its reply: @alloc is filled, and the block and its handle are there,
 * but not published.
 */
static int alloc_prepare(struct buddy_file *file, struct buddy_alloc *alloc,
			 struct buddy_kblock **block)
{
	struct buddy_request request = {
		.length = alloc->length,
		.align = alloc->align,
		.max_align = BUDDY_MAX_ALIGN,
		.pow2 = alloc->flags & BUDDY_ALLOC_POW2,
		.scatter = alloc->flags & BUDDY_ALLOC_SCATTER,
		.shift = PAGE_SHIFT,
		.limit = file->region->pages,
	};
	struct buddy_want want;
	int err;

	if (alloc->flags & ~ALLOC_FLAGS)
		return -EINVAL;
	err = buddy_request_check(&request);
	if (err)
		return err;
	*alloc = (struct buddy_alloc){
		.flags = alloc->flags,
		.length = alloc->length,
		.align = alloc->align,
	};
	err = buddy_handle_reserve(file, &alloc->out_handle);
	if (err)
		return err;
	want = (struct buddy_want){
		.pages = request.granules,
		.align = request.granule_align,
		.flags = alloc->flags,
	};
	*block = buddy_kblock_alloc(file, &want);
	if (IS_ERR(*block)) {
		buddy_handle_cancel(file, alloc->out_handle);
		alloc->out_handle = 0;
		return PTR_ERR(*block);
	}
	alloc->out_length = buddy_bytes((*block)->pages);
	alloc->out_offset = BUDDY_MMAP_BASE + buddy_bytes((*block)->pgoff);
	return 0;
}

/* @err: of the reply. The block is the caller's, or it never was. */
static int alloc_finish(struct buddy_file *file, u64 handle,
			struct buddy_kblock *block, int err)
{
	if (err) {
		buddy_handle_cancel(file, handle);
		buddy_kblock_put(block, true);
	} else {
		buddy_kblock_publish(file, handle, block);
	}
	return err;
}

static int do_alloc(struct buddy_call *call)
{
	struct buddy_alloc *alloc = &call->u.alloc;
	struct buddy_kblock *block;
	int err = alloc_prepare(call->file, alloc, &block);
	u64 handle = alloc->out_handle;

	if (err)
		return err == -ENOMEM ? alloc_shortage(call) : err;
	return alloc_finish(call->file, handle, block, call_reply(call));
}

static int do_free(struct buddy_call *call)
{
	const struct buddy_free *free = &call->u.free;

	return free->flags ? -EINVAL : buddy_kblock_free(call->file, free->handle);
}

static void batch_shortage(struct buddy_file *file, struct buddy_batch *batch,
			   struct buddy_alloc *alloc)
{
	buddy_stats_shortage(file, alloc);
	batch->out_free = alloc->out_free;
	batch->out_largest = alloc->out_largest;
	batch->out_returning = alloc->out_returning;
}

static int batch_alloc(struct buddy_file *file, struct buddy_batch *batch,
		       struct buddy_batch_entry *entry,
		       struct buddy_batch_entry __user *user)
{
	struct buddy_alloc alloc = {
		.flags = entry->flags,
		.length = entry->length,
		.align = entry->align,
	};
	struct buddy_kblock *block;
	int err = alloc_prepare(file, &alloc, &block);

	if (err == -ENOMEM)
		batch_shortage(file, batch, &alloc);
	if (err)
		return err;
	entry->out_length = alloc.out_length;
	entry->out_offset = alloc.out_offset;
	entry->handle = alloc.out_handle;
	if (copy_to_user(user, entry, sizeof(*entry)))
		err = -EFAULT;
	return alloc_finish(file, alloc.out_handle, block, err);
}

static int batch_free(struct buddy_file *file,
		      const struct buddy_batch_entry *entry)
{
	if (entry->flags || entry->length || entry->align)
		return -EINVAL;
	return buddy_kblock_free(file, entry->handle);
}

static int batch_one(struct buddy_file *file, struct buddy_batch *batch)
{
	struct buddy_batch_entry __user *user =
		u64_to_user_ptr(batch->entries + (u64)batch->out_done * batch->entry_size);
	struct buddy_batch_entry entry;
	int err = copy_struct_from_user(&entry, sizeof(entry), user,
					batch->entry_size);

	if (err)
		return err;
	switch (entry.op) {
	case BUDDY_BATCH_ALLOC:
		return batch_alloc(file, batch, &entry, user);
	case BUDDY_BATCH_FREE:
		return batch_free(file, &entry);
	}
	return -EINVAL;
}

static int do_batch(struct buddy_call *call)
{
	struct buddy_batch *batch = &call->u.batch;
	int err;

	if (batch->flags || batch->reserved || !batch->count ||
	    batch->count > BUDDY_BATCH_MAX || batch->entry_size > PAGE_SIZE ||
	    batch->entry_size < sizeof(struct buddy_batch_entry))
		return -EINVAL;
	*batch = (struct buddy_batch){
		.entries = batch->entries,
		.count = batch->count,
		.entry_size = batch->entry_size,
	};
	/* Before anything is done: can the reply be written? */
	err = call_reply(call);
	while (!err && batch->out_done < batch->count) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		else
			err = batch_one(call->file, batch);
		batch->out_done += !err;
		cond_resched();
	}
	return call_reply(call) ?: err;
}

static int do_stats(struct buddy_call *call)
{
	return buddy_stats(call->file, &call->u.stats) ?: call_reply(call);
}

static int do_extents(struct buddy_call *call)
{
	return buddy_extents(call->file->region, &call->u.extents) ?:
	       call_reply(call);
}

/* A block file, or a dma-buf that has one. The handle's reference goes to it. */
static struct file *make_share(struct buddy_kblock *block, bool dmabuf, bool writable)
{
	struct file *share = buddy_share_file(block, writable), *file;

	if (IS_ERR(share)) {
		buddy_kblock_put(block, true);
		return share;
	}
	if (!dmabuf)
		return share;
	file = buddy_dmabuf_file(share, writable);
	if (IS_ERR(file))
		fput(share);
	return file;
}

static int share_as(struct buddy_call *call, bool dmabuf)
{
	struct buddy_share *share = &call->u.share;
	struct buddy_kblock *block;
	struct file *file;
	int fd, err;

	if (share->flags & ~BUDDY_SHARE_READ_ONLY || share->reserved)
		return -EINVAL;
	block = buddy_handle_get(call->file, share->handle);
	if (!block)
		return -ENOENT;
	file = make_share(block, dmabuf, !(share->flags & BUDDY_SHARE_READ_ONLY));
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto put_file;
	}
	share->out_fd = fd;
	err = call_reply(call);
	if (err)
		goto put_fd;
	/* Visible to other threads from here on: nothing can fail any more. */
	fd_install(fd, file);
	return 0;

put_fd:
	put_unused_fd(fd);
put_file:
	fput(file);
	return err;
}

static int do_share(struct buddy_call *call)
{
	return share_as(call, false);
}

static int do_dmabuf(struct buddy_call *call)
{
	return share_as(call, true);
}

/* TRIM and GROW: @change does it. */
static int resize_by(struct buddy_call *call,
		     int (*change)(struct buddy_file *file, u64 handle, u32 pages))
{
	const struct buddy_resize *resize = &call->u.resize;
	struct buddy_request request = {
		.length = resize->length,
		.shift = PAGE_SHIFT,
		.limit = call->file->region->pages,
	};
	int err;

	if (resize->flags)
		return -EINVAL;
	err = buddy_request_check(&request);
	return err ?: change(call->file, resize->handle, request.granules);
}

static int do_trim(struct buddy_call *call)
{
	return resize_by(call, buddy_kblock_trim);
}

static int do_grow(struct buddy_call *call)
{
	return resize_by(call, buddy_kblock_grow);
}

static int do_block(struct buddy_call *call)
{
	const struct buddy_kblock *block = call->block;

	if (call->u.block_info.flags)
		return -EINVAL;
	call->u.block_info = (struct buddy_block_info){
		.out_length = buddy_bytes(block->pages),
		.out_features = features(block->file->region, !block->scattered),
	};
	return call_reply(call);
}

/**
 * struct buddy_op - one command
 * @size: of the kernel's struct
 * @first_size: of the struct in ABI version 2; callers send at least that
 * @writes: needs a file that is open for writing
 * @run: the handler; the reply is its own
 */
struct buddy_op {
	u32 size;
	u32 first_size;
	bool writes;
	int (*run)(struct buddy_call *call);
};

/* Where a command is in its table. */
#define BUDDY_OP_INDEX(_ioc)	(_IOC_NR(_ioc) - _IOC_NR(BUDDY_IOC_INFO))

#define BUDDY_OP(_ioc, _fn, _struct, _last, _writes)			\
	[BUDDY_OP_INDEX(_ioc)] = {					\
		.size = sizeof(_struct) +				\
			BUILD_BUG_ON_ZERO(sizeof(_struct) >		\
					  sizeof_field(struct buddy_call, u)), \
		.first_size = offsetofend(_struct, _last),		\
		.writes = _writes,					\
		.run = _fn,						\
	}

static const struct buddy_op node_ops[] = {
	BUDDY_OP(BUDDY_IOC_INFO, do_info, struct buddy_info, reserved, false),
	BUDDY_OP(BUDDY_IOC_ALLOC, do_alloc, struct buddy_alloc,
		 out_account_used, true),
	BUDDY_OP(BUDDY_IOC_FREE, do_free, struct buddy_free, handle, true),
	BUDDY_OP(BUDDY_IOC_STATS, do_stats, struct buddy_stats,
		 out_free_blocks, false),
	BUDDY_OP(BUDDY_IOC_EXTENTS, do_extents, struct buddy_extents,
		 out_next, false),
	BUDDY_OP(BUDDY_IOC_SHARE, do_share, struct buddy_share, reserved, true),
	BUDDY_OP(BUDDY_IOC_BATCH, do_batch, struct buddy_batch,
		 out_account_used, true),
	BUDDY_OP(BUDDY_IOC_TRIM, do_trim, struct buddy_resize, length, true),
	BUDDY_OP(BUDDY_IOC_GROW, do_grow, struct buddy_resize, length, true),
	BUDDY_OP(BUDDY_IOC_DMABUF, do_dmabuf, struct buddy_share, reserved, true),
};

static const struct buddy_op block_ops[] = {
	BUDDY_OP(BUDDY_IOC_BLOCK, do_block, struct buddy_block_info,
		 out_features, false),
};

/* The dispatcher; @call names the file or the block. */
static long dispatch(struct file *file, unsigned int cmd, unsigned long arg,
		     const struct buddy_op *ops, size_t count,
		     struct buddy_call *call)
{
	size_t index = BUDDY_OP_INDEX(cmd);
	const struct buddy_op *op;
	int err;

	if (_IOC_TYPE(cmd) != BUDDY_IOC_TYPE || index >= count)
		return -ENOTTY;
	op = &ops[array_index_nospec(index, count)];
	if (!op->run)
		return -ENOTTY;
	if (op->writes && !(file->f_mode & FMODE_WRITE))
		return -EBADF;
	call->user = (void __user *)arg;
	if (get_user(call->user_size, (u32 __user *)call->user))
		return -EFAULT;
	if (call->user_size < op->first_size)
		return -EINVAL;
	/* No struct of ours will ever be longer; checking the tail takes time. */
	if (call->user_size > PAGE_SIZE)
		return -E2BIG;
	call->size = op->size;
	err = copy_struct_from_user(&call->u, op->size, call->user,
				    call->user_size);
	return err ?: op->run(call);
}

/**
 * buddy_ioctl() - the commands of a node
 * @file: an open node
 * @cmd: only its type and number count
 * @arg: address of the struct
 *
 * Return: 0 or an errno of linux/buddy.h.
 */
long buddy_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct buddy_call call = { .file = file->private_data };

	return dispatch(file, cmd, arg, node_ops, ARRAY_SIZE(node_ops), &call);
}

/**
 * buddy_kblock_ioctl() - the commands of a block fd
 * @file: the block fd's file
 * @cmd: only its type and number count
 * @arg: address of the struct
 *
 * Return: 0 or an errno of linux/buddy.h.
 */
long buddy_kblock_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct buddy_call call = { .block = file->private_data };

	return dispatch(file, cmd, arg, block_ops, ARRAY_SIZE(block_ops), &call);
}
