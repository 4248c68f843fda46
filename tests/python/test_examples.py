# SPDX-License-Identifier: MIT
"""The three uses that the original's README shows, with its calls in its order, and
nothing changed but the module that the classes come from."""
import pytest

from buddy_mem import OptimizedBuddyAllocator, PyTorchBuddyAllocator


def test_basic_allocation(capsys):
    allocator = OptimizedBuddyAllocator(1024 * 1024, 64)
    result = allocator.allocate(1024)
    assert result
    handle, address = result
    print(f"block {handle} at {address}")
    success = allocator.deallocate(handle)
    assert success is True
    assert capsys.readouterr().out == f"block {handle} at {address}\n"


def test_tensors():
    torch = pytest.importorskip("torch")
    allocator = PyTorchBuddyAllocator(1024 * 1024, 256)
    result = allocator.allocate_tensor((100, 100), torch.float32)
    assert result
    handle, tensor = result
    assert tensor.shape == (100, 100) and tensor.dtype is torch.float32
    # while the tensor is still there, as in the original
    assert allocator.deallocate_tensor(handle) is True


def test_statistics():
    allocator = OptimizedBuddyAllocator(1024 * 1024, 64)
    handle, _ = allocator.allocate(1024)
    allocator.deallocate(handle)
    stats = allocator.get_statistics()
    assert 0 < stats["max_fragmentation"] < 1
    assert stats["avg_allocation_time_ns"] > 0
    print(f"{stats['max_fragmentation']} {stats['avg_allocation_time_ns']} ns")
