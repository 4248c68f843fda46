# SPDX-License-Identifier: MIT
"""Large contiguous memory of /dev/buddy, or of this process, cut into blocks.

The classes of the original Buddy Allocator System:

    BuddyAllocator(total_size, min_block_size=256)
    PyTorchBuddyAllocator, with allocate_tensor(shape, dtype)
    OptimizedBuddyAllocator, with block sizes after the machine

and the newer calls: Region, its Blocks, and Arrays, which NumPy, PyTorch and all that
speaks DLPack or the buffer protocol take over without a copy. docs/python.md has it all.
"""
from ._core import (
    Array,
    Block,
    BuddyAllocator,
    Region,
    __version__,
    from_dlpack,
    open_shared,
)
from .hardware import Machine, PROFILES, detect
from .tensors import PyTorchBuddyAllocator
from .optimized import OptimizedBuddyAllocator, create_default_allocator

__all__ = [
    "__version__",
    "Array",
    "Block",
    "BuddyAllocator",
    "Machine",
    "OptimizedBuddyAllocator",
    "PROFILES",
    "PyTorchBuddyAllocator",
    "Region",
    "create_default_allocator",
    "detect",
    "from_dlpack",
    "open_shared",
]
