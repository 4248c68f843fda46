# SPDX-License-Identifier: MIT
"""BuddyAllocator: the calls, results and statistics of the original."""
import random

import pytest

from buddy_mem import BuddyAllocator, Region

MIB = 1 << 20

ORIGINAL_KEYS = {
    "allocations", "deallocations", "total_requested", "total_allocated",
    "max_fragmentation", "current_fragmentation", "allocation_time_ns",
    "deallocation_time_ns", "num_allocations", "num_deallocations", "utilization",
    "avg_allocation_time_ns", "avg_deallocation_time_ns",
}


def test_sizes(allocator):
    assert (allocator.total_size, allocator.min_block_size) == (MIB, 64)
    assert (allocator.max_order, allocator.min_order, allocator.num_levels) == (20, 6, 15)


def test_min_block_size_defaults_to_256():
    assert BuddyAllocator(MIB).min_block_size == 256


def test_keywords():
    made = BuddyAllocator(total_size=MIB, min_block_size=128)
    assert (made.total_size, made.min_block_size) == (MIB, 128)


@pytest.mark.parametrize("total, least, error", [
    (MIB + 1, 64, ValueError),
    (MIB, 65, ValueError),
    (64, 128, ValueError),
    (0, 64, ValueError),
    (-MIB, 64, ValueError),
    (MIB, 0, ValueError),
    (MIB, -64, ValueError),
    (1.0 * MIB, 64, TypeError),
    (MIB, 64.0, TypeError),
    ("1M", 64, TypeError),
    (None, 64, TypeError),
    (1 << 64, 64, MemoryError),
    (MIB, 1 << 64, ValueError),
    (1 << 62, 1 << 30, ValueError),
])
def test_bad_sizes(total, least, error):
    with pytest.raises(error):
        BuddyAllocator(total, least)


def test_too_many_granules():
    with pytest.raises(ValueError, match="granules"):
        BuddyAllocator(1 << 40, 64)


def test_calls_by_keyword(allocator):
    handle, address = allocator.allocate(size=100)
    assert allocator.is_valid_handle(handle=handle)
    assert allocator.block(handle=handle).address == address
    assert allocator.deallocate(handle=handle) is True
    assert allocator.release(handle=allocator.allocate(size=1)[0]) is True
    allocator.free(handle=allocator.allocate(*(), **{"size": 1})[0])
    assert Region(size=MIB, granule=128).size == MIB


@pytest.mark.parametrize("arguments, keywords", [
    ((), {}), ((1, 2), {}), ((1,), {"size": 1}), ((1,), {"handle": 1}), ((1,), {"colour": 1}),
    ((), {"colour": 1}), ((), {"size": 1, "handle": 1}),
])
def test_one_argument_is_what_they_take(allocator, arguments, keywords):
    for call in (allocator.allocate, allocator.deallocate, allocator.release,
                 allocator.is_valid_handle, allocator.block, allocator.free):
        with pytest.raises(TypeError):
            call(*arguments, **keywords)


def test_region_by_keyword():
    for arguments, keywords in (((), {}), ((MIB,), {"size": MIB}), ((MIB, 64), {})):
        with pytest.raises(TypeError):
            Region(*arguments, **keywords)


@pytest.mark.parametrize("arguments, keywords", [
    ((), {}),
    ((MIB, 64, 3), {}),
    ((MIB,), {"total_size": MIB}),
    ((MIB,), {"granule": 64}),
    ((MIB,), {"colour": 1}),
])
def test_bad_arguments(arguments, keywords):
    with pytest.raises(TypeError):
        BuddyAllocator(*arguments, **keywords)


def test_bad_backend():
    with pytest.raises(ValueError, match="backend"):
        BuddyAllocator(MIB, backend="disk")


def test_no_device():
    with pytest.raises(FileNotFoundError):
        BuddyAllocator(MIB, backend="device", path="/dev/no-such-device")


def test_not_a_device():
    with pytest.raises(OSError, match="not a buddy device"):
        BuddyAllocator(MIB, backend="device", path="/dev/null")


def test_init_twice(allocator):
    with pytest.raises(RuntimeError):
        allocator.__init__(MIB, 64)
    assert allocator.allocate(1)


def test_never_opened():
    made = BuddyAllocator.__new__(BuddyAllocator)
    assert made.closed
    for call in (lambda: made.allocate(1), lambda: made.deallocate(1),
                 made.get_statistics, lambda: made.alloc(1), lambda: made.address,
                 made.reset_statistics, made.__enter__):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_allocate_and_deallocate(allocator):
    handle, address = allocator.allocate(1000)
    assert type(handle) is int and type(address) is int
    assert allocator.is_valid_handle(handle)
    assert allocator.address <= address < allocator.address + MIB
    assert allocator.deallocate(handle) is True
    assert not allocator.is_valid_handle(handle)


def test_powers_of_two_at_their_multiples(allocator):
    for size in (1, 64, 65, 1000, 4096, 5000, 65537):
        handle, address = allocator.allocate(size)
        block = allocator.block(handle)
        assert block.capacity == max(64, 1 << (size - 1).bit_length())
        assert block.nbytes == size
        assert address == block.address
        assert (address - allocator.address) % block.capacity == 0
        assert address % min(block.capacity, allocator.alignment) == 0


def test_all_of_it(allocator):
    handle, address = allocator.allocate(MIB)
    assert address == allocator.address
    assert allocator.allocate(1) is None
    assert allocator.deallocate(handle)
    assert allocator.allocate(MIB)


@pytest.mark.parametrize("size", [0, -1, -100, 2 * MIB, MIB + 1, 1 << 63, 1 << 100, -1 << 100])
def test_none(allocator, size):
    assert allocator.allocate(size) is None


@pytest.mark.parametrize("size", [1.5, "64", None, b"1", (64,)])
def test_allocate_no_number(allocator, size):
    with pytest.raises(TypeError):
        allocator.allocate(size)


@pytest.mark.parametrize("handle", [0, -1, 2, 99, 1 << 63, 1 << 100, -1 << 100])
def test_wrong_handle(allocator, handle):
    assert allocator.allocate(64)[0] == 1
    assert allocator.deallocate(handle) is False
    assert allocator.release(handle) is False
    assert allocator.is_valid_handle(handle) is False
    assert allocator.is_valid_handle(1)


@pytest.mark.parametrize("handle", [1.0, "1", None, (1, 2)])
def test_handle_no_number(allocator, handle):
    for call in (allocator.deallocate, allocator.release, allocator.is_valid_handle,
                 allocator.block, allocator.free):
        with pytest.raises(TypeError):
            call(handle)


def test_freed_twice(allocator):
    handle, _ = allocator.allocate(64)
    assert allocator.deallocate(handle) is True
    assert allocator.deallocate(handle) is False
    assert allocator.get_statistics()["failed_deallocations"] == 1


def test_handles_are_never_given_again(allocator):
    seen = set()
    for _ in range(1000):
        handle, _ = allocator.allocate(64)
        assert handle not in seen
        seen.add(handle)
        allocator.deallocate(handle)
    assert max(seen) == 1000


def test_buddies_coalesce(allocator):
    handles = [allocator.allocate(64)[0] for _ in range(MIB // 64)]
    assert allocator.allocate(1) is None
    random.Random(1).shuffle(handles)
    assert all(allocator.deallocate(h) for h in handles)
    assert allocator.allocate(MIB)


def test_statistics(allocator):
    before = allocator.get_statistics()
    assert ORIGINAL_KEYS <= before.keys()
    assert before["avg_allocation_time_ns"] == 0
    handle, _ = allocator.allocate(1000)
    stats = allocator.get_statistics()
    assert stats["allocations"] == stats["num_allocations"] == 1
    assert (stats["total_requested"], stats["total_allocated"]) == (1000, 1024)
    assert stats["utilization"] == 1024 / MIB
    assert stats["current_fragmentation"] == stats["max_fragmentation"]
    assert stats["internal_fragmentation"] == 24 / 1024
    assert (stats["used"], stats["free"]) == (1024, MIB - 1024)
    assert stats["largest_free"] == MIB // 2
    assert (stats["blocks"], stats["views"]) == (1, 0)
    assert stats["backend"] == allocator.backend
    allocator.deallocate(handle)
    stats = allocator.get_statistics()
    assert stats["deallocations"] == stats["num_deallocations"] == 1
    assert stats["current_fragmentation"] == 0 < stats["max_fragmentation"]
    assert stats["avg_deallocation_time_ns"] > 0


def test_fragmentation_is_one_less_largest_of_free(allocator):
    handles = [allocator.allocate(MIB // 8)[0] for _ in range(8)]
    for handle in handles[::2]:
        allocator.deallocate(handle)
    stats = allocator.get_statistics()
    assert stats["current_fragmentation"] == 1 - 1 / 4
    assert stats["max_fragmentation"] == 1 - 1 / 4


def test_times_are_sampled(allocator):
    for _ in range(200):
        allocator.deallocate(allocator.allocate(64)[0])
    stats = allocator.get_statistics()
    assert stats["timed_allocations"] == stats["timed_deallocations"] == 4
    total = stats["avg_allocation_time_ns"] * 200
    assert abs(stats["allocation_time_ns"] - total) <= 1


@pytest.mark.parametrize("call, give_back", [
    (lambda a: a.allocate(64)[0], lambda a, h: a.deallocate(h)),
    (lambda a: a.allocate(64)[0], lambda a, h: a.release(h)),
    (lambda a: a.allocate(64)[0], lambda a, h: a.free(h)),
    (lambda a: a.alloc(64), lambda a, block: block.free()),
    (lambda a: a.alloc(64), lambda a, block: block.release()),
    (lambda a: a.alloc(64), lambda a, block: None),
], ids=["deallocate", "release", "free", "Block.free", "Block.release", "its end"])
def test_all_calls_are_sampled(allocator, call, give_back):
    for _ in range(65):
        give_back(allocator, call(allocator))
    stats = allocator.get_statistics()
    assert stats["allocations"] == stats["deallocations"] == 65
    assert stats["timed_allocations"] == stats["timed_deallocations"] == 2
    assert stats["avg_allocation_time_ns"] > 0 and stats["avg_deallocation_time_ns"] > 0


def test_reset_statistics(allocator):
    handle, _ = allocator.allocate(1000)
    assert allocator.allocate(2 * MIB) is None
    allocator.reset_statistics()
    stats = allocator.get_statistics()
    for key in ORIGINAL_KEYS - {"current_fragmentation", "max_fragmentation", "utilization"}:
        assert stats[key] == 0, key
    assert stats["max_fragmentation"] == stats["current_fragmentation"] > 0
    assert stats["failed_allocations"] == 0
    assert stats["blocks"] == 1
    assert allocator.deallocate(handle)


def test_failures_are_counted(allocator):
    for size in (2 * MIB, 1 << 62, 1 << 63, 1 << 100):
        assert allocator.allocate(size) is None
    for size in (2 * MIB, 1 << 62, 1 << 63):
        with pytest.raises(MemoryError):
            allocator.alloc(size)
    assert allocator.allocate(0) is None and allocator.allocate(-1 << 100) is None
    stats = allocator.get_statistics()
    assert (stats["failed_allocations"], stats["allocations"]) == (7, 0)


def test_subclass():
    class Mine(BuddyAllocator):
        def allocate(self, size):
            return super().allocate(size + 1)

    mine = Mine(MIB, 64)
    mine.note = "a dict of its own"
    handle, _ = mine.allocate(64)
    assert mine.block(handle).capacity == 128
    assert mine.deallocate(handle)


def test_size_classes_are_checked(allocator):
    for bad in ((), ((1, 64, 64),), ((0, 63, 64),), ((0, 64, 65),), ((0, 64, 64),) * 2,
                ((0, 64, 1 << 40),), tuple((i, 64, 64) for i in range(7)), [(0, 64, 64)]):
        with pytest.raises(ValueError):
            allocator._set_classes(bad)
    assert allocator.allocate(65)
