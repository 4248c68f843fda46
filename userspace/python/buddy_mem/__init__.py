# SPDX-License-Identifier: MIT
"""Large contiguous memory of /dev/buddy, or of this process, cut into blocks."""
from ._core import (
    Array,
    Block,
    BuddyAllocator,
    Region,
    __version__,
    from_dlpack,
    open_shared,
)

__all__ = ["Array", "Block", "BuddyAllocator", "Region", "from_dlpack", "open_shared"]
