# SPDX-License-Identifier: MIT
"""OptimizedBuddyAllocator: block lengths and alignments after the machine.

The original rounds each length to a power of two, whatever the machine. Here a length
is rounded up to what the hardware moves at once, and what the power of two has beyond
that stays free for others:

    class            from                   multiple of          start
    line             1                      cache line           cache line
    coalesced        one access of a warp   cache line           one access of a warp
    direct I/O       page or disk unit      the larger of both   the same
    optimal I/O      optimal I/O length     as direct I/O        optimal I/O length
    huge             L3 and huge page       huge page            huge page

A class whose hardware is not there is left out; so is one whose start the region cannot
give, and one that is no power of two; explain() says which and why. Where it is the first,
small lengths are rounded up to min_block_size. A block also starts at a multiple of the
largest power of two that divides its length, at most 2 MiB.
"""
from __future__ import annotations

import dataclasses
import operator
from typing import Any, Iterable, Iterator, SupportsIndex

from .hardware import PROFILES, Machine, detect
from .tensors import PyTorchBuddyAllocator

_WORD = 4  # bytes that each thread of a warp reads at once


@dataclasses.dataclass(frozen=True)
class SizeClass:
    """Lengths of `start` bytes and more are rounded up to `quantum`."""

    name: str
    start: int
    quantum: int
    align: int
    why: str


def _is_pow2(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _wanted(machine: Machine) -> Iterator[tuple[SizeClass, str]]:
    """The classes that a machine may ask for, and why this one does not, or ""."""
    line = machine.cache_line_size
    access = machine.warp_size * _WORD
    direct = max(machine.page_size, machine.nvme_page_size)
    best = machine.nvme_optimal_io_size
    huge = machine.huge_page_size
    yield SizeClass("line", 0, line, line, "two blocks never share a cache line"), \
        "" if line else "no cache line is known"
    yield SizeClass("coalesced", access, line or access, access,
                    f"{machine.warp_size} threads read {_WORD} bytes each in one access"), \
        "no GPU is known" if not access else \
        "" if access > line else "one access of a warp is no more than a cache line"
    yield SizeClass("direct I/O", direct, direct, direct,
                    "whole pages and disk blocks: O_DIRECT reads into it"), \
        "" if direct else "no page is known"
    yield SizeClass("optimal I/O", best, direct or best, best,
                    "the disk's optimal transfers start on its own boundaries"), \
        "no disk says what is optimal" if not best else \
        "" if best > direct else "it is no more than direct I/O"
    yield SizeClass("huge", max(huge, machine.l3_cache_size), huge, huge,
                    "above the cache: whole huge pages, fewest TLB entries"), \
        "there are no huge pages" if not huge else \
        "" if huge > direct else "they are no larger than pages and disk blocks"


def _why_not(wanted: SizeClass, total: int, alignment: int) -> str:
    """Why this region does not have a class, or ""."""
    for number in (wanted.align, wanted.quantum):
        if not _is_pow2(number):
            return f"{number} is no power of two"
    if wanted.align > alignment:
        return f"this region starts at a multiple of {alignment} only"
    return "the region is smaller" if wanted.start > total else ""


def _plan(
    machine: Machine, granule: int, total: int, alignment: int
) -> tuple[list[SizeClass], list[str]]:
    """(classes, notes): what is used of _wanted(), and what became of the rest."""
    used: list[SizeClass] = []
    notes: list[str] = []
    for wanted, absent in _wanted(machine):
        reason = absent or _why_not(wanted, total, alignment)
        if reason:
            notes.append(f"{wanted.name}: left out, {reason}")
        elif used and wanted.start <= used[-1].start:
            notes.append(f"{used[-1].name}: left out, {wanted.name} has all lengths from "
                         f"{wanted.start} on")
            used.pop()
        if not reason:
            used.append(dataclasses.replace(
                wanted, quantum=min(max(wanted.quantum, granule), total),
                align=min(wanted.align, total)))
        if not used:
            used.append(SizeClass("granule", 0, granule, granule, "as small as blocks can be"))
    return used, notes


class OptimizedBuddyAllocator(PyTorchBuddyAllocator):
    """A PyTorchBuddyAllocator with lengths and alignments after the machine.

    profile: None for this machine, a name of PROFILES, or a Machine.
    """

    # What the machine has, as attributes, as the original has it.
    cpu_cores: int
    threads: int
    cache_line_size: int
    l3_cache_size: int
    page_size: int
    huge_page_size: int
    nvme_page_size: int
    nvme_optimal_io_size: int
    warp_size: int
    gpu_compute_units: int

    def __init__(
        self,
        total_size: SupportsIndex,
        min_block_size: SupportsIndex = 256,
        device: Any = None,
        *,
        profile: str | Machine | None = None,
        **keywords: Any,
    ) -> None:
        if profile is None:
            machine = detect()
        elif isinstance(profile, Machine):
            machine = profile
        elif profile in PROFILES:
            machine = PROFILES[profile]
        else:
            raise ValueError(f"no profile {profile!r}: {', '.join(PROFILES)}, or a Machine")
        line = machine.cache_line_size
        total, least = operator.index(total_size), operator.index(min_block_size)
        self._asked_min = least
        # The sizes themselves are checked by BuddyAllocator.
        if _is_pow2(least) and _is_pow2(total) and _is_pow2(line) and least <= total:
            least = max(least, min(line, total))
        super().__init__(total, least, device, **keywords)
        self.machine = machine
        vars(self).update(self.get_hardware_optimized_params())
        self.classes, self._notes = _plan(
            machine, self.min_block_size, self.total_size, self.alignment)
        self._set_classes(tuple((c.start, c.quantum, c.align) for c in self.classes))

    def get_hardware_optimized_params(self) -> dict[str, int]:
        """The keys of the original, and some more; of this machine or its profile."""
        params = dataclasses.asdict(self.machine)
        del params["sources"], params["name"]
        return params

    def preallocate_common_sizes(self, sizes: Iterable[SupportsIndex]) -> int:
        """Has the pages there that blocks of these sizes will lie in, if they are all
        allocated next: the first use of each page is then no fault. Returns the bytes."""
        handles: list[int] = []
        done = 0
        try:
            for size in sizes:
                allocated = self.allocate(size)
                if allocated is None:
                    break
                handles.append(allocated[0])
                block = self.block(allocated[0])
                block.populate()
                done += block.capacity
        finally:
            for handle in reversed(handles):
                self.deallocate(handle)
        return done

    def explain(self) -> str:
        """A text: what was detected and where, and what that changed."""
        machine = self.machine
        lines = [f"machine: {machine.name}"]
        for key, value in self.get_hardware_optimized_params().items():
            lines.append(f"  {key:<21} {value:>9}  {machine.sources.get(key, 'given')}")
        lines.append(f"region: {self.total_size} bytes of the {self.backend} backend, "
                     f"starts at a multiple of {self.alignment}")
        least = self.min_block_size
        raised = "" if least == self._asked_min else \
            f", raised from {self._asked_min} to a cache line"
        lines.append(f"  min_block_size {least}{raised}")
        lines.append("lengths, instead of powers of two:")
        for c in self.classes:
            lines.append(f"  from {c.start:>9}: a multiple of {c.quantum}, at a multiple "
                         f"of {c.align} ({c.name}: {c.why})")
        lines += [f"  {note}" for note in self._notes]
        return "\n".join(lines)


def create_default_allocator(device: Any = None, **keywords: Any) -> OptimizedBuddyAllocator:
    """1 GiB with blocks of 256 bytes and more, as the original has it."""
    return OptimizedBuddyAllocator(1 << 30, 256, device, **keywords)
