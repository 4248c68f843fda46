# SPDX-License-Identifier: MIT
"""What the machine has that a good block size depends on: detect(), and PROFILES.

All is read from files of the kernel, with no program started and no library loaded.
Each value has a source: the file that it was read in, or why it is an assumption.
"""
from __future__ import annotations

import dataclasses
import glob
import os

Found = tuple[int, str]  # a value and its source

_NVIDIA, _AMD = "0x10de", "0x1002"


@dataclasses.dataclass(frozen=True)
class Machine:
    """Lengths in bytes. 0: there is none, or nobody says."""

    name: str
    cpu_cores: int
    threads: int
    cache_line_size: int
    l3_cache_size: int
    page_size: int
    huge_page_size: int
    nvme_page_size: int  # the unit of direct I/O
    nvme_optimal_io_size: int
    warp_size: int  # threads
    gpu_compute_units: int
    sources: dict[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)


_LAPTOP = "the profile of the original's laptop"

PROFILES = {
    "i5-10210U": Machine(
        name="i5-10210U",
        cpu_cores=4,
        threads=8,
        cache_line_size=64,
        l3_cache_size=6 << 20,
        page_size=4096,
        huge_page_size=2 << 20,
        nvme_page_size=4096,
        nvme_optimal_io_size=0,
        warp_size=32,
        gpu_compute_units=32,
        sources={
            field.name: _LAPTOP
            for field in dataclasses.fields(Machine)
            if field.name not in ("name", "sources")
        },
    ),
}


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _parsed(text: str | None) -> int | None:
    """Of a text like `64`, `6144K` or `0x10`; None where it is none of these."""
    try:
        if text and text[-1] in "KMG":
            number = int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]]
        else:
            number = int(text or "", 0)
    except ValueError:
        return None
    return number if number >= 0 else None


def _number(path: str) -> int | None:
    """Of a file; None where it is not there, or has no number."""
    return _parsed(_text(path))


def _first(*candidates: tuple[int | None, str]) -> Found:
    """The first (value, source) whose value is neither None nor 0."""
    for value, source in candidates:
        if value:
            return value, source
    return 0, candidates[-1][1]


class _Reader:
    """Reads below `root`, so that tests can show it another machine."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def files(self, pattern: str) -> list[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self.root), pattern)))

    def cpus(self) -> tuple[Found, Found]:
        found = self.files("sys/devices/system/cpu/cpu[0-9]*/topology")
        cores = {
            (_number(f"{t}/physical_package_id"), _number(f"{t}/core_id")) for t in found
        }
        source = self.path("sys/devices/system/cpu/cpu*/topology")
        if found:
            return (len(cores), source), (len(found), source)
        number = os.cpu_count() or 1
        return (number, "assumed: threads"), (number, "os.cpu_count()")

    def caches(self) -> list[tuple[int, int, int, str]]:
        """[(level, line, size, file)] of the data caches of the first processor."""
        result = []
        for index in self.files("sys/devices/system/cpu/cpu0/cache/index*"):
            level, line = _number(f"{index}/level"), _number(f"{index}/coherency_line_size")
            if level and _text(f"{index}/type") != "Instruction":
                result.append((level, line or 0, _number(f"{index}/size") or 0, index))
        return result

    def cache_line(self) -> Found:
        caches = self.caches()
        found = max(((line, index) for _, line, _, index in caches), default=(0, ""))
        try:
            system = os.sysconf("SC_LEVEL1_DCACHE_LINESIZE")
        except (ValueError, OSError):
            system = 0
        return _first(
            (found[0], f"{found[1]}/coherency_line_size"),
            (max(system, 0), "sysconf(_SC_LEVEL1_DCACHE_LINESIZE)"),
            (64, "assumed: nobody says"),
        )

    def last_cache(self) -> Found:
        """L3, or what is last where there is none."""
        caches = self.caches()
        if not caches:
            return 0, "no cache is described in " + self.path("sys/devices/system/cpu")
        level, _, size, index = max(caches)
        return size, f"{index}/size" + ("" if level == 3 else f" (the last is level {level})")

    def huge_page(self) -> Found:
        thp = self.path("sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
        meminfo = self.path("proc/meminfo")
        size = None
        for line in (_text(meminfo) or "").splitlines():
            words = line.split()
            if words[:1] == ["Hugepagesize:"]:
                size = (_parsed("".join(words[1:2])) or 0) << 10
        return _first(
            (_number(thp), thp), (size, meminfo), (0, "the kernel has no huge pages")
        )

    def nvme(self) -> tuple[Found, Found]:
        """Of all NVMe disks together: the largest unit, the largest optimal length."""
        queues = self.files("sys/block/nvme*/queue")
        if not queues:
            none = "no NVMe disk: " + self.path("sys/block")
            return (0, none), (0, none)
        unit = max((_number(f"{q}/logical_block_size") or 0, q) for q in queues)
        best = max((_number(f"{q}/optimal_io_size") or 0, q) for q in queues)
        source = f"{best[1]}/optimal_io_size"
        if not best[0]:
            source += " (the disk does not say)"
        return (unit[0], f"{unit[1]}/logical_block_size"), (best[0], source)

    def gpu(self) -> tuple[Found, Found]:
        """Threads of a warp, compute units."""
        for device in self.files("sys/bus/pci/devices/*"):
            vendor, kind = _text(f"{device}/vendor"), _text(f"{device}/class") or ""
            if vendor == _NVIDIA and kind.startswith("0x03"):
                return (32, f"{device}: NVIDIA, 32 in every generation"), self.units()
        for file in self.files("sys/class/kfd/kfd/topology/nodes/*/properties"):
            words = (_text(file) or "").split()
            node = dict(zip(words[::2], words[1::2]))
            width = _parsed(node.get("wave_front_size")) or 0
            if width:
                units = _parsed(node.get("simd_count")) or 0
                per_unit = _parsed(node.get("simd_per_cu")) or 0
                return (width, file), (units // per_unit if per_unit else 0, file)
        return (0, "no GPU is visible"), (0, "no GPU is visible")

    def units(self) -> Found:
        """Asked of CUDA only where the program has started it already."""
        import sys

        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            count = torch.cuda.get_device_properties(0).multi_processor_count
            return count, "torch.cuda.get_device_properties(0)"
        return 0, "not asked: CUDA is not in use"


def detect(root: str | os.PathLike[str] = "/") -> Machine:
    """The machine that this runs on; `root` is where its files are."""
    reader = _Reader(root)
    cores, threads = reader.cpus()
    unit, best = reader.nvme()
    warp, units = reader.gpu()
    values = {
        "cpu_cores": cores,
        "threads": threads,
        "cache_line_size": reader.cache_line(),
        "l3_cache_size": reader.last_cache(),
        "page_size": (os.sysconf("SC_PAGE_SIZE"), "sysconf(_SC_PAGE_SIZE)"),
        "huge_page_size": reader.huge_page(),
        "nvme_page_size": unit,
        "nvme_optimal_io_size": best,
        "warp_size": warp,
        "gpu_compute_units": units,
    }
    return Machine(
        name="this machine",
        sources={key: source for key, (_, source) in values.items()},
        **{key: value for key, (value, _) in values.items()},
    )
