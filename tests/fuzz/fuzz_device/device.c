// SPDX-License-Identifier: MIT
/*
 * device.c - the commands of the module, and what their replies must be.
 *
 * A reply is looked at where it lies in memory of the caller that no other thread has
 * (own_memory()): errnos are those of linux/buddy.h, sums are right, extents tile, and
 * a new block is zero.
 */
#include <sys/ioctl.h>

#include "fuzz.h"
#include "placement.h"

/* In this order everywhere, by HEAD() of forms.c. */
enum { V_FD, V_AT, V_SIZE, V_REST };

#define LONGEST	8192	/* bytes of a struct that are there, whatever its size says */

static bool is_documented(long err)
{
	static const int errnos[] = { EINVAL, EFBIG, ENOMEM, EBUSY, ENOENT, EBADF, EMFILE,
				      ENFILE, EOPNOTSUPP, E2BIG, EFAULT, EINTR, ENOTTY };

	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++)
		if (err == -errnos[i])
			return true;
	return false;
}

/*
 * The struct of @length bytes, of which the first member says how long it is, to where
 * the program wants it; what is beyond it up to that size is @tail.
 */
static void *put(const struct runner *r, uint64_t at, const void *what, size_t length,
		 uint64_t tail)
{
	static __thread char buffer[LONGEST];
	uint32_t size = *(const uint32_t *)what;
	void *to = pointer(r, at, LONGEST);
	char *own = own_memory(r, (uint64_t)to, 1);
	size_t room;

	if (size > LONGEST)
		size = LONGEST;
	if (size < length)
		size = (uint32_t)length;
	memcpy(buffer, what, length);
	memset(buffer + length, (int)tail, size - length);
	if (own) {
		room = (size_t)(r->areas + 4 * PAGE - own);
		memcpy(own, buffer, size < room ? size : room);
	} else if (is_ours((uint64_t)to, size)) {
		copy_guarded(to, buffer, size);
	}
	return to;
}

/* The reply, if nobody else can have changed it. */
static bool get(const struct runner *r, const void *at, void *what, size_t length)
{
	const void *own = own_memory(r, (uint64_t)at, length);

	if (own)
		memcpy(what, own, length);
	return own != NULL;
}

static long command(uint64_t fd, unsigned long cmd, void *at)
{
	long ret = result(ioctl((int)fd, cmd, at));

	if (ret > 0)
		complain("ioctl %#lx returned %ld", cmd, ret);
	if (ret < 0 && !is_documented(ret))
		complain("ioctl %#lx: errno %ld is not one of linux/buddy.h", cmd, -ret);
	return ret;
}

long run_info(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_info info = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST],
		.reserved = (uint32_t)v[V_REST + 1],
	};
	void *at = put(r, v[V_AT], &info, sizeof(info), v[V_REST + 2]);
	long ret = command(v[V_FD], BUDDY_IOC_INFO, at);

	(void)c;
	if (!ret && v[V_SIZE] >= sizeof(info) && get(r, at, &info, sizeof(info)) &&
	    (info.out_region != state->region || info.out_granule != PAGE))
		complain("INFO: region %llu, granule %u",
			 (unsigned long long)info.out_region, info.out_granule);
	return ret;
}

static void check_alloc(const struct buddy_alloc *a, const uint64_t *v)
{
	uint64_t flags = v[V_REST + 1];

	if (!a->out_handle || a->out_offset < 1 << 30 ||
	    a->out_length < v[V_REST + 2] || a->out_length % PAGE ||
	    a->out_offset % (flags & BUDDY_ALLOC_ALONE ? 2 << 20 : PAGE) ||
	    (!(flags & BUDDY_ALLOC_SCATTER) &&
	     !is_well_placed(a->out_offset, a->out_length, v[V_REST + 3],
			     flags & BUDDY_ALLOC_POW2)))
		complain("ALLOC: length %#llx, offset %#llx, handle %#llx",
			 (unsigned long long)a->out_length,
			 (unsigned long long)a->out_offset,
			 (unsigned long long)a->out_handle);
}

long run_alloc(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_alloc a = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST + 1],
		.length = v[V_REST + 2],
		.align = v[V_REST + 3],
	};
	void *at = put(r, v[V_AT], &a, sizeof(a), v[V_REST + 4]);
	long ret = command(v[V_FD], BUDDY_IOC_ALLOC, at);

	(void)c;
	if (!ret && get(r, at, &a, sizeof(a))) {
		check_alloc(&a, v);
		slots.blocks[v[V_REST]] = (struct slot_block){
			a.out_handle, a.out_offset, a.out_length
		};
	}
	return ret;
}

long run_free(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_free f = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST],
		.handle = v[V_REST + 1],
	};

	(void)c;
	return command(v[V_FD], BUDDY_IOC_FREE,
		       put(r, v[V_AT], &f, sizeof(f), v[V_REST + 2]));
}

long run_stats(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_stats s = { .size = (uint32_t)v[V_SIZE], .flags = (uint32_t)v[V_REST] };
	void *at = put(r, v[V_AT], &s, sizeof(s), v[V_REST + 1]);
	long ret = command(v[V_FD], BUDDY_IOC_STATS, at);

	(void)c;
	if (!ret && get(r, at, &s, sizeof(s)) &&
	    s.out_free + s.out_used + s.out_private + s.out_returning +
	    s.out_quarantined + s.out_reserved != s.out_region)
		complain("STATS: the parts are not the region");
	return ret;
}

static void check_extents(const struct buddy_extents *x,
			  const struct buddy_extent_entry *e)
{
	for (uint32_t i = 0; i < x->out_count; i++) {
		uint64_t end = e[i].offset + e[i].length;
		uint64_t next = i + 1 < x->out_count ? e[i + 1].offset : x->out_next;

		if (!e[i].length || end != next || e[i].state > BUDDY_EXTENT_PRIVATE)
			complain("EXTENTS: entry %u, %#llx + %#llx, state %u, then %#llx", i,
				 (unsigned long long)e[i].offset,
				 (unsigned long long)e[i].length, e[i].state,
				 (unsigned long long)next);
	}
}

/* Do the entries lie apart from the struct, in memory of our own? */
static void *own_entries(const struct runner *r, const void *at, size_t length,
			 uint64_t entries, uint64_t bytes)
{
	void *own = own_memory(r, entries, bytes);
	const char *s = own_memory(r, (uint64_t)at, length), *e = own;

	if (!own || !s)
		return NULL;
	return e + bytes <= s || s + length <= e ? own : NULL;
}

long run_extents(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_extents x = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST],
		.start = v[V_REST + 1],
		.count = (uint32_t)v[V_REST + 3],
	};
	uint64_t bytes = x.count * sizeof(struct buddy_extent_entry);
	struct buddy_extent_entry *entries;
	void *at;
	long ret;

	(void)c;
	x.entries = (uint64_t)pointer(r, v[V_REST + 2], bytes);
	at = put(r, v[V_AT], &x, sizeof(x), v[V_REST + 4]);
	ret = command(v[V_FD], BUDDY_IOC_EXTENTS, at);
	entries = own_entries(r, at, sizeof(x), x.entries, bytes);
	if (!ret && entries && get(r, at, &x, sizeof(x)))
		check_extents(&x, entries);
	return ret;
}

static long run_share_as(struct runner *r, const uint64_t *v, unsigned long cmd)
{
	struct buddy_share s = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST + 1],
		.handle = v[V_REST + 2],
		.out_fd = -1,
		.reserved = (uint32_t)v[V_REST + 3],
	};
	void *at = put(r, v[V_AT], &s, sizeof(s), v[V_REST + 4]);
	long ret = command(v[V_FD], cmd, at);

	if (!ret && get(r, at, &s, sizeof(s))) {
		if (s.out_fd < 3)
			complain("SHARE or DMABUF: descriptor %d", s.out_fd);
		slots.fds[v[V_REST]] = s.out_fd;
	}
	return ret;
}

long run_share(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return run_share_as(r, v, BUDDY_IOC_SHARE);
}

long run_dmabuf(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return run_share_as(r, v, BUDDY_IOC_DMABUF);
}

long run_block(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_block_info b = { .size = (uint32_t)v[V_SIZE], .flags = (uint32_t)v[V_REST] };
	void *at = put(r, v[V_AT], &b, sizeof(b), v[V_REST + 1]);
	long ret = command(v[V_FD], BUDDY_IOC_BLOCK, at);

	(void)c;
	if (!ret && get(r, at, &b, sizeof(b)) &&
	    (!b.out_length || b.out_length % PAGE || b.out_length > state->region))
		complain("BLOCK: length %#llx", (unsigned long long)b.out_length);
	return ret;
}

/* No call: an entry for the next BATCH. */
long run_entry(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	r->staged[v[0] % STAGED] = (struct buddy_batch_entry){
		.op = (uint32_t)v[1],
		.flags = (uint32_t)v[2],
		.length = v[3],
		.align = v[4],
		.handle = v[5],
	};
	return SKIPPED;
}

static void take_entries(const struct buddy_batch *b, unsigned int slot,
			 const struct buddy_batch_entry *e)
{
	if (b->out_done > b->count) {
		complain("BATCH: %u of %u done", b->out_done, b->count);
		return;
	}
	for (uint32_t i = 0; i < b->out_done && i < SLOTS; i++)
		if (e[i].op == BUDDY_BATCH_ALLOC)
			slots.blocks[(slot + i) % SLOTS] = (struct slot_block){
				e[i].handle, e[i].out_offset, e[i].out_length
			};
}

long run_batch(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_batch b = {
		.size = (uint32_t)v[V_SIZE],
		.flags = (uint32_t)v[V_REST + 1],
		.count = (uint32_t)v[V_REST + 3],
		.entry_size = (uint32_t)v[V_REST + 4],
		.reserved = (uint32_t)v[V_REST + 5],
	};
	uint64_t bytes = b.count * sizeof(struct buddy_batch_entry);
	char *to = pointer(r, v[V_REST + 2], bytes), *own;
	void *at;
	long ret;

	(void)c;
	b.entries = (uint64_t)to;
	for (uint32_t i = 0; i < b.count && i < 64; i++) {
		size_t one = sizeof(r->staged[0]);

		own = own_memory(r, (uint64_t)to + i * one, one);
		if (own || is_ours((uint64_t)to + i * one, one))
			copy_guarded(own ? own : to + i * one, &r->staged[i % STAGED], one);
	}
	at = put(r, v[V_AT], &b, sizeof(b), v[V_REST + 6]);
	ret = command(v[V_FD], BUDDY_IOC_BATCH, at);
	own = own_entries(r, at, sizeof(b), b.entries, bytes);
	/* With EINVAL or E2BIG there may be no reply at all. */
	if (!ret && own && get(r, at, &b, sizeof(b)))
		take_entries(&b, (unsigned int)v[V_REST], (void *)own);
	return ret;
}

static long run_resize(struct runner *r, const uint64_t *v, unsigned long cmd)
{
	struct buddy_resize z = {
		.size = (uint32_t)v[V_SIZE],
		.handle = v[V_REST],
		.flags = (uint32_t)v[V_REST + 1],
		.length = v[V_REST + 2],
	};
	long ret = command(v[V_FD], cmd, put(r, v[V_AT], &z, sizeof(z), v[V_REST + 3]));

	/* What refers to its length is to mean the new one. */
	for (unsigned int i = 0; !ret && i < SLOTS; i++)
		if (slots.blocks[i].handle == z.handle)
			slots.blocks[i].length = (z.length + PAGE - 1) & ~(PAGE - 1);
	return ret;
}

long run_trim(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return run_resize(r, v, BUDDY_IOC_TRIM);
}

long run_grow(struct runner *r, const uint64_t *v, const struct call *c)
{
	(void)c;
	return run_resize(r, v, BUDDY_IOC_GROW);
}

/* Any command with what lies there. */
long run_raw(struct runner *r, const uint64_t *v, const struct call *c)
{
	unsigned long cmd = v[1];

	(void)c;
	/* The VFS's FIBMAP and FIGETBSZ; FIONBIO would make us wait for pipes. */
	if ((uint32_t)cmd == 1 || (uint32_t)cmd == 2 || (uint32_t)cmd == 0x5421)
		return SKIPPED;
	return result(ioctl((int)v[0], cmd, pointer(r, v[2], LONGEST)));
}

/* Is each page of new memory zero? Leaves marks for who gets it next. */
static void check_zero(uint64_t *p, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += PAGE) {
		uint64_t word[2] = { 0 }, mark = 0x6b72616dull;
		uint64_t *end = p + (at + PAGE) / 8 - 1;

		if (!copy_guarded(&word[0], p + at / 8, 8) || !copy_guarded(&word[1], end, 8))
			return;
		if (word[0] || word[1])
			complain("a new block of %#llx bytes is not zero at %#llx",
				 (unsigned long long)length, (unsigned long long)at);
		copy_guarded(p + at / 8, &mark, 8);
		copy_guarded(end, &mark, 8);
	}
}

/* A node of its own, by a number that no program has, and no other thread closes. */
static int open_apart(void)
{
	return own_fd(open("/dev/buddy", O_RDWR | O_CLOEXEC));
}

/*
 * No other thread can map the block meanwhile. One that closes a number twice, which
 * the node opened by that number in between, must not get it: the other would have our
 * number for its own node, and we its block.
 */
long run_fresh(struct runner *r, const uint64_t *v, const struct call *c)
{
	struct buddy_alloc a = { .size = sizeof(a), .length = v[0] };
	int fd = v[0] > 4 * MIB ? -1 : open_apart();
	void *p, *at = r->areas + FRESH_AT;
	long ret;

	(void)c;
	if (fd < 0)
		return SKIPPED;
	ret = command((uint64_t)fd, BUDDY_IOC_ALLOC, &a);
	if (!ret) {
		p = mmap(at, a.out_length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 fd, (off_t)a.out_offset);
		if (p == at) {
			check_zero(p, a.out_length);
			munmap(p, a.out_length);
		}
	}
	close(fd);
	return ret;
}
