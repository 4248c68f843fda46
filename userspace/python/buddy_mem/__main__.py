# SPDX-License-Identifier: MIT
"""python3 -m buddy_mem: what is here, and does it work?

Prints a line for each check, ok, FAILED or absent, then what was detected of the
machine. Exit status: 0, or 1 where something failed.
"""
from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Callable

import buddy_mem

_SIZE = 1 << 20
failed = 0


class Absent(Exception):
    """What the check is about is not installed, or not loaded."""


def _check(name: str, run: Callable[[], str]) -> None:
    global failed
    try:
        word, text = "ok", run()
    except Absent as reason:
        word, text = "absent", str(reason)
    except Exception as error:  # a self-check tells, whatever it is
        word, text = "FAILED", f"{type(error).__name__}: {error}"
        failed += 1
    print(f"{word:<7} {name}: {text}")


def _device() -> str:
    node = os.environ.get("BUDDY_DEVICE", "/dev/buddy")
    if not os.path.exists(node):
        raise Absent(f"no {node}; `modprobe buddy_mem` makes it")
    with buddy_mem.Region(_SIZE, backend="device") as region:
        pages = "2 MiB" if region.huge else "4 KiB"
        kind = "contiguous" if region.contiguous else "not contiguous"
        return f"{node}, {kind}, pages of {pages}"


def _backend(backend: str | None) -> str:
    with buddy_mem.BuddyAllocator(_SIZE, 64, backend=backend) as allocator:
        allocated = allocator.allocate(1000)
        if allocated is None:
            raise RuntimeError("a block of 1000 bytes is too much")
        handle, address = allocated
        block = allocator.block(handle)
        with memoryview(block) as view:
            view[:] = bytes(range(250)) * 4
        with memoryview(block) as view:
            if bytes(view) != bytes(range(250)) * 4:
                raise RuntimeError("the bytes that were written are not there")
        if not allocator.deallocate(handle) or allocator.deallocate(handle):
            raise RuntimeError("deallocate() does not know its handles")
        if allocator.get_statistics()["free"] != _SIZE:
            raise RuntimeError("the block did not come back")
        return f"{allocator.backend}, {_SIZE >> 20} MiB at {address:#x}"


def _numpy(backend: str | None) -> str:
    try:
        import numpy
    except ImportError:
        raise Absent("not installed") from None
    with buddy_mem.Region(_SIZE, backend=backend) as region:
        block = region.alloc(4000)
        array = block.numpy("float32", (10, 100))
        array[:] = 1
        if array.sum() != 1000 or array.ctypes.data != block.address:
            raise RuntimeError("an ndarray in a block does not add up")
        del array
        block.free()
    return numpy.__version__


def _torch(backend: str | None) -> str:
    try:
        import torch
    except ImportError:
        raise Absent("not installed") from None
    with buddy_mem.PyTorchBuddyAllocator(_SIZE, backend=backend) as allocator:
        allocated = allocator.allocate_tensor((10, 100), torch.float32)
        if allocated is None:
            raise RuntimeError("a tensor of 4000 bytes is too much")
        handle, tensor = allocated
        tensor.fill_(1)
        if float(tensor.sum()) != 1000:
            raise RuntimeError("a tensor in a block does not add up")
        if tensor.data_ptr() != allocator.block(handle).address:
            raise RuntimeError("the tensor does not lie in its block")
        allocator.deallocate_tensor(handle)
        del tensor, allocated
        if allocator.get_statistics()["free"] != _SIZE:
            raise RuntimeError("the tensor's block did not come back")
    return torch.__version__


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m buddy_mem", description="Checks that buddy_mem works here."
    )
    parser.add_argument("--backend", choices=["auto", "device", "process"],
                        help="to check (default: $BUDDY_BACKEND, or auto)")
    parser.add_argument("--profile", choices=sorted(buddy_mem.PROFILES),
                        help="explain this machine instead of the one that it runs on")
    options = parser.parse_args()
    print(f"buddy_mem {buddy_mem.__version__}, Python {platform.python_version()}, "
          f"Linux {platform.release()}")
    _check("device", _device)
    _check("backend", lambda: _backend(options.backend))
    _check("numpy", lambda: _numpy(options.backend))
    _check("torch", lambda: _torch(options.backend))
    if not failed:
        with buddy_mem.OptimizedBuddyAllocator(
                64 << 20, profile=options.profile, backend="process") as allocator:
            print(allocator.explain())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
