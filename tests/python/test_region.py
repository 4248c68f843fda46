# SPDX-License-Identifier: MIT
"""Region and Block: the newer calls, their exceptions, and what keeps what alive."""
import copy
import ctypes
import fcntl
import gc
import inspect
import os
import pathlib
import pickle
import struct
import sys
import weakref

import pytest

import buddy_mem
from buddy_mem import BuddyAllocator, Region

MIB = 1 << 20


def used(region):
    return region.get_statistics()["used"]


def test_backend(region, on_device):
    assert region.backend == ("device" if on_device else "process")
    assert region.contiguous is on_device
    assert region.size == 4 * MIB and region.granule == 64


def test_exact_lengths(region):
    block = region.alloc(5000)
    assert (block.nbytes, block.capacity, len(block)) == (5000, 5056, 5000)
    assert used(region) == 5056
    assert region.alignment >= 4096


def test_alignment(region):
    for align in (64, 128, 4096, 65536, region.alignment):
        region.alloc(1)
        assert region.alloc(100, align=align).address % align == 0


@pytest.mark.parametrize("keywords, error", [
    ({"size": 0}, ValueError),
    ({"size": -1}, ValueError),
    ({"size": 1.5}, TypeError),
    ({"size": None}, TypeError),
    ({"size": 1, "align": 3}, ValueError),
    ({"size": 1, "align": 0}, ValueError),
    ({"size": 1, "align": -64}, ValueError),
    ({"size": 1, "align": 1 << 40}, ValueError),
    ({"size": 1, "align": 1 << 64}, ValueError),
    ({"size": 1, "align": "64"}, TypeError),
    ({"size": 1, "colour": 1}, TypeError),
    ({}, TypeError),
    ({"size": 5 * MIB}, MemoryError),
    ({"size": 1 << 62}, MemoryError),
    ({"size": 1 << 100}, MemoryError),
])
def test_bad_alloc(region, keywords, error):
    with pytest.raises(error):
        region.alloc(**keywords)
    assert used(region) == 0


def test_memory_error_explains_itself(region):
    block = region.alloc(3 * MIB)
    with pytest.raises(MemoryError, match=f"{2 * MIB} bytes: {MIB} free, .* {MIB}"):
        region.alloc(2 * MIB)
    block.free()


@pytest.mark.parametrize("arguments, keywords, error", [
    ((), {}, TypeError),
    ((0,), {}, ValueError),
    ((-1,), {}, ValueError),
    (("1M",), {}, TypeError),
    ((1 << 64,), {}, MemoryError),
    ((MIB,), {"granule": 0}, ValueError),
    ((MIB,), {"granule": 48}, ValueError),
    ((MIB,), {"granule": "64"}, TypeError),
    ((MIB,), {"granule": 1 << 40}, ValueError),
    ((MIB,), {"granule": 2 * MIB}, ValueError),
    ((MIB,), {"granule": 1 << 64}, ValueError),
    ((MIB,), {"backend": "x"}, ValueError),
    ((MIB,), {"backend": 1}, TypeError),
    ((MIB,), {"colour": 1}, TypeError),
    ((1 << 40,), {}, ValueError),
])
def test_bad_region(arguments, keywords, error):
    with pytest.raises(error):
        Region(*arguments, **keywords)


def test_more_than_any_region_has(on_device):
    """Not only more granules: these are few."""
    for size in (1 << 43, 1 << 50, 1 << 62):
        with pytest.raises(MemoryError, match="larger than" if on_device else "pages"):
            Region(size, granule=1 << 40)


def test_align_of_a_closed_region():
    region = Region(MIB)
    region.close()
    with pytest.raises(ValueError, match="closed"):
        region.alloc(1, align=64)


def test_small_regions():
    assert Region(1).size == 64
    assert Region(1, granule=4096).size == 4096


def test_odd_sizes():
    region = Region(100_001, granule=256)
    assert region.size == 100_096
    assert region.alloc(100_096).capacity == 100_096
    assert region._verify() is None


def test_new_memory_is_zero_and_zero_clears(region):
    block = region.alloc(70_000)
    assert bytes(block) == bytes(70_000)
    with memoryview(block) as view:
        view[:] = b"x" * 70_000
    address = block.address
    block.free()
    again = region.alloc(70_000, zero=True)
    assert again.address == address and bytes(again) == bytes(70_000)


def test_address_is_real(region):
    block = region.alloc(16)
    ctypes.memmove(block.address, b"0123456789abcdef", 16)
    assert bytes(block) == b"0123456789abcdef"


def test_wrong_handles(region):
    for handle in (0, 1, -1, 1 << 70):
        with pytest.raises(KeyError):
            region.free(handle)
        with pytest.raises(KeyError):
            region.block(handle)


def test_free_by_handle(region):
    block = region.alloc(64)
    region.free(block.handle)
    assert block.freed
    with pytest.raises(KeyError):
        region.free(block.handle)


def test_a_freed_block(region):
    block = region.alloc(64)
    block.free()
    assert block.freed and "freed" in repr(block)
    for call in (block.free, block.release):
        with pytest.raises(KeyError):
            call()
    for call in (lambda: block.address, lambda: block.nbytes, lambda: block.capacity,
                 lambda: len(block), block.view, lambda: memoryview(block),
                 block.__dlpack__, block.populate, block.__enter__):
        with pytest.raises(ValueError, match="freed"):
            call()


def test_free_under_a_view(region):
    block = region.alloc(64)
    view = memoryview(block)
    with pytest.raises(BufferError):
        block.free()
    with pytest.raises(BufferError):
        region.free(block.handle)
    view[0] = 1
    view.release()
    block.free()
    assert used(region) == 0


def test_deallocate_under_a_view(allocator):
    handle, _ = allocator.allocate(64)
    view = memoryview(allocator.block(handle))
    with pytest.raises(BufferError):
        allocator.deallocate(handle)
    assert allocator.is_valid_handle(handle)
    view.release()
    assert allocator.deallocate(handle) is True


def test_release_under_a_view(region):
    block = region.alloc(4096)
    view = memoryview(block)
    view[:] = b"k" * 4096
    block.release()
    assert block.freed
    stats = region.get_statistics()
    assert (stats["blocks"], stats["blocks_kept_by_views"], stats["used"]) == (0, 1, 4096)
    others = [region.alloc(4096) for _ in range(100)]
    for other in others:
        with memoryview(other) as bytes_of_other:
            bytes_of_other[:] = b"o" * 4096
    assert bytes(view) == b"k" * 4096
    view.release()
    assert region.get_statistics()["blocks_kept_by_views"] == 0
    del others, other
    assert used(region) == 0


def test_a_block_ends_with_its_object(region):
    block = region.alloc(64)
    del block
    assert used(region) == 0


def test_only_mistakes_are_failed_deallocations(region):
    region.alloc(64).free()
    region.alloc(64).release()
    for _ in range(2):
        with region.alloc(64):
            pass
    with region.alloc(64) as block:
        block.free()
    del block
    assert region.get_statistics()["failed_deallocations"] == 0
    block = region.alloc(64)
    block.free()
    for call in (block.free, block.release, lambda: region.free(block.handle)):
        with pytest.raises(KeyError):
            call()
    assert region.get_statistics()["failed_deallocations"] == 3


def test_a_view_keeps_the_block_whose_object_ended(region):
    view = memoryview(region.alloc(64))
    assert region.get_statistics()["blocks_kept_by_views"] == 1
    view[:] = b"v" * 64
    assert bytes(view) == b"v" * 64
    view.release()
    assert used(region) == 0


def test_a_view_keeps_the_region():
    view = memoryview(Region(MIB).alloc(64))
    gc.collect()
    view[:] = b"v" * 64
    assert bytes(view) == b"v" * 64


def test_block_of_a_handle_does_not_own_it(allocator):
    handle, _ = allocator.allocate(64)
    allocator.block(handle)
    assert allocator.is_valid_handle(handle)


def test_block_as_context(region):
    with region.alloc(64) as block:
        assert used(region) == 64
    assert block.freed
    with region.alloc(64) as block:
        block.free()
    with pytest.raises(BufferError):
        with region.alloc(64) as block:
            view = memoryview(block)
    view.release()


def test_an_exception_is_not_hidden_by_views(region):
    with pytest.raises(ZeroDivisionError):
        with region.alloc(64) as block:
            view = memoryview(block)
            1 / 0
    assert block.freed and used(region) == 64
    view.release()
    assert used(region) == 0


def test_region_as_context():
    with Region(MIB) as region:
        block = region.alloc(64)
    assert region.closed and block.freed and region.backend is None
    with pytest.raises(ValueError):
        with region:
            pass


def test_region_context_with_views():
    with pytest.raises(BufferError):
        with Region(MIB) as region:
            view = memoryview(region.alloc(64))
    assert not region.closed
    view[0] = 1
    with pytest.raises(ZeroDivisionError):
        with region:
            1 / 0
    assert not region.closed
    view.release()
    region.close()


@pytest.mark.parametrize("make", [lambda: Region(MIB), lambda: BuddyAllocator(MIB)])
def test_use_after_close(make):
    region = make()
    block = region.alloc(64)
    region.close()
    region.close()
    assert region.closed and "closed" in repr(region)
    calls = [lambda: region.alloc(1), lambda: region.free(1), lambda: region.block(1),
             region.get_statistics, region.reset_statistics, region.share,
             lambda: region.address, region.__enter__, lambda: memoryview(block),
             lambda: block.address, block.free, block.release, block.view]
    if isinstance(region, BuddyAllocator):
        calls += [lambda: region.allocate(1), lambda: region.allocate(0),
                  lambda: region.deallocate(1), lambda: region.release(1),
                  lambda: region.is_valid_handle(1)]
    for call in calls:
        with pytest.raises(ValueError, match="closed"):
            call()


def test_close_under_a_view(region):
    view = memoryview(region.alloc(64))
    with pytest.raises(BufferError):
        region.close()
    assert not region.closed and region.alloc(1)
    view.release()


def test_populate(region):
    block = region.alloc(MIB)
    block.populate()
    assert bytes(block) == bytes(MIB)


def test_types_are_not_made_by_hand():
    for kind in (buddy_mem.Block, buddy_mem.Array):
        with pytest.raises(TypeError):
            kind()


def test_a_region_in_a_circle_is_collected():
    class Mine(Region):
        pass

    mine = Mine(MIB)
    mine.block_of_mine = mine.alloc(64)
    mine.array_of_mine = mine.block_of_mine.view()
    before = len(os.listdir("/proc/self/fd"))
    del mine
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_node_that_may_not_be_opened(tmp_path):
    """EPERM has to do with fork() only where it is the region's."""
    get_flags, set_flags, immutable = 0x80086601, 0x40086602, 0x10  # FS_IOC_, FS_
    node = tmp_path / "immutable"
    with open(node, "w") as file:
        try:
            before = fcntl.ioctl(file, get_flags, bytes(8))
            flags = int.from_bytes(before, sys.byteorder) | immutable
            fcntl.ioctl(file, set_flags, flags.to_bytes(8, sys.byteorder))
        except OSError as error:
            pytest.skip(f"no file can be made immutable here: {error}")
        try:
            with pytest.raises(PermissionError) as caught:
                Region(MIB, backend="device", path=str(node))
        finally:
            fcntl.ioctl(file, set_flags, before)
    assert "fork" not in str(caught.value)


def test_exit_goes_by_the_type_alone(region):
    view = memoryview(region.alloc(64))
    for arguments in ((), (None,), (None, None, None), (None, None, 3), (None, ValueError(), 3)):
        with pytest.raises(BufferError):
            region.__exit__(*arguments)
    for arguments in ((ValueError,), (ValueError, None, None), (ValueError, ValueError(), None)):
        assert region.__exit__(*arguments) is None
    view.release()
    block = region.alloc(64)
    view = memoryview(block)
    with pytest.raises(BufferError):
        block.__exit__(None, None, 3)
    assert not block.freed
    block.__exit__(ValueError, None, None)
    assert block.freed


def test_nothing_is_pickled_or_copied(region, allocator):
    block = region.alloc(64)
    for thing in (region, allocator, block, block.view()):
        name = type(thing).__name__
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match=name):
                pickle.dumps(thing, protocol)
        for call in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=name):
                call(thing)


def test_a_block_is_true_until_it_is_freed(region):
    block, other = region.alloc(64), region.alloc(64)
    assert block and other
    block.free()
    assert not block and other
    region.close()
    assert not other


def test_a_subclass_may_say_what_a_copy_is():
    class Mine(BuddyAllocator):
        def __reduce__(self):
            return Mine, (self.total_size, self.min_block_size)

    mine = Mine(MIB, 128)
    again = copy.copy(mine)
    assert (again.size, again.granule) == (MIB, 128) and again.address != mine.address


@pytest.mark.parametrize("path, error", [
    (pathlib.Path("/dev/null"), OSError), (b"/dev/null", OSError), ("/dev/null", OSError),
    (pathlib.Path("/dev/no-such-device"), FileNotFoundError),
    ("/dev/nul\udcff", FileNotFoundError), ("/dev/null\0", ValueError), (3, TypeError),
])
def test_paths(path, error):
    with pytest.raises(error):
        Region(MIB, backend="device", path=path)
    assert Region(MIB, backend="process", path=None).size == MIB


def test_weak_references(region):
    class Mine(BuddyAllocator):
        pass

    for make in (lambda: Region(MIB), lambda: BuddyAllocator(MIB), lambda: Mine(MIB),
                 lambda: region.alloc(64), lambda: region.alloc(64).view()):
        dead = []
        thing = make()
        weak = weakref.ref(thing, dead.append)
        assert weak() is thing and not dead
        del thing
        assert weak() is None and dead == [weak]


@pytest.mark.parametrize("function, parameters", [
    (Region, ["size", "granule", "backend", "path", "scatter", "alone"]),
    (BuddyAllocator, ["total_size", "min_block_size", "backend", "path", "scatter", "alone"]),
    (Region.alloc, ["self", "size", "align", "zero"]),
    (Region.block, ["self", "handle"]),
    (Region.free, ["self", "handle"]),
    (Region.share, ["self", "read_only"]),
    (Region.close, ["self"]),
    (Region.get_statistics, ["self"]),
    (Region.reset_statistics, ["self"]),
    (BuddyAllocator.allocate, ["self", "size"]),
    (BuddyAllocator.deallocate, ["self", "handle"]),
    (BuddyAllocator.release, ["self", "handle"]),
    (BuddyAllocator.is_valid_handle, ["self", "handle"]),
    (buddy_mem.Block.view, ["self", "dtype", "shape", "strides", "offset"]),
    (buddy_mem.Block.numpy, ["self", "dtype", "shape", "strides", "offset"]),
    (buddy_mem.Block.free, ["self"]),
    (buddy_mem.Block.release, ["self"]),
    (buddy_mem.Block.populate, ["self"]),
    (buddy_mem.Block.__dlpack__, ["self", "stream", "max_version", "dl_device", "copy"]),
    (buddy_mem.Array.__dlpack__, ["self", "stream", "max_version", "dl_device", "copy"]),
    (buddy_mem.from_dlpack, ["object"]),
    (buddy_mem.open_shared, ["fd"]),
], ids=lambda value: getattr(value, "__qualname__", ""))
def test_signatures(function, parameters):
    assert list(inspect.signature(function).parameters) == parameters
    assert function.__doc__ and "--" not in function.__doc__


def used_of_device():
    """Bytes in blocks, by BUDDY_IOC_STATS."""
    reply = bytearray(376)
    struct.pack_into("I", reply, 0, len(reply))
    with open("/dev/buddy", "rb") as node:
        fcntl.ioctl(node, 0xC000BD83 | len(reply) << 16, reply)
    return struct.unpack_from("Q", reply, 24)[0]


@pytest.mark.parametrize("scatter", [False, True])
@pytest.mark.parametrize("size", [4096, MIB, 3 * MIB + 4096])
def test_alone(on_device, size, scatter):
    units = -(-size // (2 * MIB)) * 2 * MIB
    before = used_of_device() if on_device else 0
    with Region(size, alone=True, scatter=scatter) as region:
        assert region.size == size
        if on_device:
            assert used_of_device() == before + units
        block = region.alloc(size)
        with memoryview(block) as view:
            assert not any(view[::4096])
            view[-1] = 1
        block.free()
    with BuddyAllocator(4096, alone=True) as allocator:
        assert allocator.total_size == 4096


def test_share(region, on_device):
    if not on_device:
        with pytest.raises(NotImplementedError):
            region.share()
        return
    block = region.alloc(4096)
    descriptor = region.share()
    shared = buddy_mem.open_shared(descriptor)
    os.close(descriptor)
    assert shared.nbytes == region.size and not shared.readonly
    offset = block.address - region.address
    with memoryview(block) as view:
        view[:5] = b"hello"
    with memoryview(shared) as view:
        assert bytes(view[offset:offset + 5]) == b"hello"


def test_share_read_only(region, on_device):
    if not on_device:
        pytest.skip("the process backend cannot share")
    descriptor = region.share(read_only=True)
    shared = buddy_mem.open_shared(descriptor)
    os.close(descriptor)
    assert shared.readonly and memoryview(shared).readonly
    with pytest.raises(BufferError):
        shared.__dlpack__()


def test_shared_outlives_its_region(on_device):
    if not on_device:
        pytest.skip("the process backend cannot share")
    with Region(MIB) as region:
        with region.alloc(64) as block, memoryview(block) as view:
            view[:4] = b"kept"
        descriptor = region.share()
    shared = buddy_mem.open_shared(descriptor)
    os.close(descriptor)
    assert bytes(memoryview(shared)[:4]) == b"kept"


@pytest.mark.parametrize("descriptor", [-1, 10_000])
def test_open_shared_bad_descriptor(descriptor):
    with pytest.raises(OSError):
        buddy_mem.open_shared(descriptor)


def test_open_shared_of_something_else():
    with open("/dev/null", "rb") as file, pytest.raises(OSError):
        buddy_mem.open_shared(file.fileno())


def test_reference_counts(region):
    before = sys.getrefcount(region)
    blocks = [region.alloc(64) for _ in range(10)]
    views = [block.view() for block in blocks]
    assert sys.getrefcount(region) == before + 20
    del blocks, views
    assert sys.getrefcount(region) == before
