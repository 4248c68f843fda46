# SPDX-License-Identifier: MIT
"""PyTorchBuddyAllocator: tensors whose bytes lie in blocks.

PyTorch is imported when it is first needed, and is no dependency.
"""
from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Sequence, SupportsIndex

from ._core import Block, BuddyAllocator

if TYPE_CHECKING:
    from torch import Tensor, dtype as Dtype
else:
    Tensor = Dtype = Any  # for who asks for hints while the program runs

Shape = SupportsIndex | Sequence[SupportsIndex]


def _torch_or_none() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def _shape_of(shape: Shape) -> tuple[int, ...]:
    """A tuple of lengths; of a single int, too, as an array of no dimension is one."""
    if isinstance(shape, SupportsIndex) and not getattr(shape, "ndim", 0):
        lengths: tuple[int, ...] = (operator.index(shape),)
    else:
        lengths = tuple(operator.index(n) for n in shape)  # type: ignore[union-attr]
    if any(n < 0 for n in lengths):
        raise ValueError(f"a negative length in {lengths}")
    return lengths


def _dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements, the last index fastest."""
    strides: list[int] = []
    step = 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last, both included."""
    if 0 in shape:
        return 0
    return sum((n - 1) * s for n, s in zip(shape, strides)) + 1


def _leaves_no_gaps(tensor: Tensor) -> bool:
    """Dense in some order of its dimensions, and no element twice."""
    step = 1
    pairs = ((s, n) for n, s in zip(tensor.shape, tensor.stride()) if n != 1)
    for stride, length in sorted(pairs):
        if stride != step:
            return False
        step *= length
    return True


class PyTorchBuddyAllocator(BuddyAllocator):
    """A BuddyAllocator whose blocks are tensors as well.

    Tensors lie in memory of the host, in the block itself. To compute on a GPU copy
    them there by tensor.to(device).
    """

    def __init__(
        self,
        total_size: SupportsIndex,
        min_block_size: SupportsIndex = 256,
        device: Any = None,
        **keywords: Any,
    ) -> None:
        if device is not None and str(device).split(":")[0] != "cpu":
            raise ValueError(
                f"device {device}: blocks are memory of the host; "
                "use tensor.to(device) for a copy there"
            )
        super().__init__(total_size, min_block_size, **keywords)

    @property
    def torch(self) -> Any:
        """The module, or None where it is not installed."""
        return _torch_or_none()

    @property
    def device(self) -> Any:
        """torch.device('cpu'), or None without PyTorch."""
        torch = _torch_or_none()
        return torch and torch.device("cpu")

    def _need_torch(self) -> Any:
        torch = _torch_or_none()
        if torch is None:
            raise RuntimeError("PyTorch is not installed")
        return torch

    def allocate_tensor(
        self,
        shape: Shape,
        dtype: Dtype | None = None,
        *,
        strides: Shape | None = None,
    ) -> tuple[int, Tensor] | None:
        """(handle, tensor), or None where there is no room.

        The tensor is not cleared. strides are in elements, as PyTorch has them. The
        block lives as long as the tensor and what shares its storage.

        PyTorch cannot resize the tensor, but it changes the shape before it says so:
        after a RuntimeError of resize_() or out= drop the tensor. out=tensor[:] does
        not change it.
        """
        torch = self._need_torch()
        shape = _shape_of(shape)
        dtype = torch.float32 if dtype is None else dtype
        strides = _dense(shape) if strides is None else _shape_of(strides)
        if len(strides) != len(shape):
            raise ValueError("shape and strides differ in length")
        size = _item_size(torch, dtype)
        span = _span(shape, strides)
        # An empty tensor has a block, too: None means that there is no room.
        allocated = self.allocate(max(span * size, 1))
        if allocated is None:
            return None
        handle = allocated[0]
        try:
            tensor = _tensor_in(torch, self.block(handle), dtype, span * size)
            return handle, tensor.as_strided(shape, strides)
        except BaseException:
            self.release(handle)
            raise

    def deallocate_tensor(self, handle: SupportsIndex) -> bool:
        """True where the handle was valid. It is not any more.

        The bytes are free for others when the tensor, and all that shares its storage,
        is gone; deallocate() raises BufferError instead while they exist.
        """
        return self.release(handle)

    def put_tensor(self, tensor: Tensor) -> tuple[int, Tensor] | None:
        """(handle, copy): a tensor with the same numbers, shape, and, where these leave
        no gaps, strides; None where there is no room."""
        torch = self._need_torch()
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"put_tensor() takes a torch.Tensor, not {type(tensor).__name__}: "
                "make one with torch.as_tensor()"
            )
        dense = _leaves_no_gaps(tensor)
        strides = tensor.stride() if dense else None
        allocated = self.allocate_tensor(tensor.shape, tensor.dtype, strides=strides)
        if allocated is None:
            return None
        handle, copy = allocated
        try:
            source = tensor.detach().resolve_conj().resolve_neg().cpu()
            if not dense:
                copy.copy_(source)
            elif copy.numel():
                # PyTorch cannot copy some kinds of numbers, but it can their bytes.
                _raw(copy).copy_(_raw(source))
        except BaseException:
            self.release(handle)
            raise
        return handle, copy


def _raw(tensor: Tensor) -> Any:
    """The bytes of a tensor without gaps, in order of their addresses."""
    import torch

    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)


def _item_size(torch: Any, dtype: Any) -> int:
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype, not {dtype!r}")
    if dtype in _quantised(torch):
        raise TypeError(
            f"{dtype}: a quantised tensor has its scale outside its storage; "
            "keep its int_repr() here, as int8, uint8 or int32"
        )
    return int(torch.empty(0, dtype=dtype).element_size())


def _quantised(torch: Any) -> set[Any]:
    names = ("quint8", "qint8", "qint32", "quint4x2", "quint2x4")
    return {getattr(torch, name) for name in names if hasattr(torch, name)}


def _tensor_in(torch: Any, block: Block, dtype: Any, length: int) -> Any:
    """One dimension, over the first bytes of a block. The memoryview is the pin."""
    if not length:
        # PyTorch makes no tensor of an empty buffer: a byte of the block, and none of it.
        return torch.frombuffer(memoryview(block), dtype=torch.uint8)[:0].view(dtype)
    return torch.frombuffer(memoryview(block)[:length], dtype=torch.uint8).view(dtype)
