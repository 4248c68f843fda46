# SPDX-License-Identifier: MIT
"""OptimizedBuddyAllocator and detect(), on this machine and on ones that are made up."""
import dataclasses
import typing

import pytest

import buddy_mem
from buddy_mem import Machine, OptimizedBuddyAllocator, PROFILES, detect

MIB = 1 << 20
LAPTOP = PROFILES["i5-10210U"]
ORIGINAL_PARAMS = {"cpu_cores", "threads", "l3_cache_size", "cache_line_size",
                   "gpu_compute_units", "warp_size", "nvme_page_size"}


@pytest.fixture
def laptop():
    made = OptimizedBuddyAllocator(16 * MIB, 64, profile="i5-10210U")
    yield made
    assert made._verify() is None


def capacity(allocator, size):
    return allocator.block(allocator.allocate(size)[0]).capacity


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


CPU = "sys/devices/system/cpu/"


def server_files():
    """Two packages of two cores with two threads, lines of 128 bytes, two NVMe disks."""
    files = {
        "sys/kernel/mm/transparent_hugepage/hpage_pmd_size": str(2 * MIB),
        "sys/block/nvme0n1/queue/logical_block_size": "512",
        "sys/block/nvme0n1/queue/optimal_io_size": "0",
        "sys/block/nvme1n1/queue/logical_block_size": "4096",
        "sys/block/nvme1n1/queue/optimal_io_size": "131072",
        "sys/block/sda/queue/logical_block_size": "8192",
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030200",
    }
    for thread in range(8):
        files[f"{CPU}cpu{thread}/topology/physical_package_id"] = str(thread // 4)
        files[f"{CPU}cpu{thread}/topology/core_id"] = str(thread // 2 % 2)
    caches = [("1", "Data", "32K"), ("1", "Instruction", "64K"), ("2", "Unified", "1M"),
              ("3", "Unified", "4M")]
    for index, (level, kind, size) in enumerate(caches):
        at = f"{CPU}cpu0/cache/index{index}/"
        files |= {at + "level": level, at + "type": kind, at + "size": size,
                  at + "coherency_line_size": "128"}
    return files


def test_detect_a_server(tmp_path):
    write(tmp_path, server_files())
    machine = detect(tmp_path)
    assert dataclasses.replace(machine, name="x", page_size=4096) == Machine(
        name="x", cpu_cores=4, threads=8, cache_line_size=128, l3_cache_size=4 * MIB,
        page_size=4096, huge_page_size=2 * MIB, nvme_page_size=4096,
        nvme_optimal_io_size=131072, warp_size=32, gpu_compute_units=0)
    assert "nvme1n1" in machine.sources["nvme_page_size"]
    assert "NVIDIA" in machine.sources["warp_size"]
    assert machine.sources.keys() == ORIGINAL_PARAMS | {
        "page_size", "huge_page_size", "nvme_optimal_io_size"}


def test_detect_an_amd_gpu(tmp_path):
    write(tmp_path, {
        "sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 8\nwave_front_size 0",
        "sys/class/kfd/kfd/topology/nodes/1/properties":
            "simd_count 240\nsimd_per_cu 4\nwave_front_size 64"})
    machine = detect(tmp_path)
    assert (machine.warp_size, machine.gpu_compute_units) == (64, 60)


def test_detect_nothing(tmp_path):
    machine = detect(tmp_path)
    assert machine.cache_line_size >= 16 and machine.threads >= 1
    assert (machine.l3_cache_size, machine.huge_page_size, machine.nvme_page_size,
            machine.warp_size) == (0, 0, 0, 0)
    assert machine.sources["warp_size"] == "no GPU is visible"
    assert OptimizedBuddyAllocator(MIB, 64, profile=machine).allocate(100)


@pytest.mark.parametrize("text", ["", "garbage", "64 bytes", "-", "K"])
def test_detect_garbage(tmp_path, text):
    write(tmp_path, dict.fromkeys(server_files(), text))
    machine = detect(tmp_path)
    assert machine.cache_line_size >= 16 and machine.l3_cache_size == 0


def by_hand(**values):
    """A Machine without sources."""
    most = dict(name="mine", cpu_cores=1, threads=2, cache_line_size=64, l3_cache_size=0,
                page_size=4096, huge_page_size=0, nvme_page_size=0, nvme_optimal_io_size=0,
                warp_size=0, gpu_compute_units=0)
    return Machine(**most | values)


def test_a_machine_made_by_hand():
    made = OptimizedBuddyAllocator(MIB, 64, profile=by_hand())
    assert (made.cache_line_size, made.threads, made.warp_size) == (64, 2, 0)
    assert made.get_hardware_optimized_params()["cpu_cores"] == 1
    lines = made.explain().splitlines()
    assert lines[0] == "machine: mine"
    for key in made.get_hardware_optimized_params():
        assert any(line.split()[0] == key and line.endswith("  given") for line in lines), key


@pytest.mark.parametrize("values, note", [
    ({}, "coalesced: left out, no GPU is known"),
    ({"warp_size": 16}, "coalesced: left out, one access of a warp is no more than a cache line"),
    ({}, "optimal I/O: left out, no disk says what is optimal"),
    ({"nvme_optimal_io_size": 4096}, "optimal I/O: left out, it is no more than direct I/O"),
    ({}, "huge: left out, there are no huge pages"),
    ({"cache_line_size": 0}, "line: left out, no cache line is known"),
    ({"page_size": 0}, "direct I/O: left out, no page is known"),
    ({"huge_page_size": 2 * MIB, "nvme_optimal_io_size": 2 * MIB},
     "optimal I/O: left out, huge has all lengths from"),
], ids=range(8))
def test_no_class_is_left_out_without_a_word(values, note):
    made = OptimizedBuddyAllocator(16 * MIB, 64, profile=by_hand(**values))
    assert note in made.explain()
    names = {c.name for c in made.classes}
    for name in ("line", "coalesced", "direct I/O", "optimal I/O", "huge"):
        assert (name in names) != (f"  {name}: left out" in made.explain())


def test_no_cache_line():
    """Small blocks are as small as they can be."""
    for total in (1024, 16 * MIB):
        made = OptimizedBuddyAllocator(total, 64, profile=by_hand(cache_line_size=0))
        assert capacity(made, 1) == 64 and capacity(made, 65) == 128
    assert capacity(made, 5000) == 8192


@pytest.mark.parametrize("total, least", [(32, 16), (32, 32), (16, 1)])
def test_less_than_a_cache_line(total, least):
    made = OptimizedBuddyAllocator(total, least, profile="i5-10210U")
    assert (made.total_size, made.min_block_size) == (total, total)
    handle, _ = made.allocate(1)
    assert made.allocate(1) is None and made.deallocate(handle)


def test_min_block_size_is_any_int():
    class Sixteen:
        def __index__(self):
            return 16

    for least in (16, Sixteen()):
        made = OptimizedBuddyAllocator(MIB, least, profile="i5-10210U")
        assert made.min_block_size == 64 and "raised from 16 " in made.explain()


@pytest.mark.parametrize("files", [
    {"proc/meminfo": "Hugepagesize:"},
    {"proc/meminfo": "Hugepagesize: many kB"},
    {"sys/class/kfd/kfd/topology/nodes/0/properties": "wave_front_size x"},
    {"sys/class/kfd/kfd/topology/nodes/0/properties": "wave_front_size 64\nsimd_count x"},
    {"sys/class/kfd/kfd/topology/nodes/0/properties": "wave_front_size 64\nsimd_per_cu x"},
    {"sys/class/kfd/kfd/topology/nodes/0/properties": "wave_front_size"},
    {CPU + "cpu0/cache/index0/level": "1", CPU + "cpu0/cache/index0/coherency_line_size": "-64"},
], ids=range(7))
def test_detect_numbers_that_are_none(tmp_path, files):
    write(tmp_path, files)
    machine = detect(tmp_path)
    assert machine.huge_page_size == 0 and machine.gpu_compute_units == 0
    assert machine.cache_line_size >= 16


def test_detect_below_a_name_with_brackets(tmp_path):
    write(tmp_path / "a[1]*", server_files())
    assert detect(tmp_path / "a[1]*").cpu_cores == 4


def test_a_last_cache_of_level_two(tmp_path):
    write(tmp_path, {k: v for k, v in server_files().items() if "index3" not in k})
    machine = detect(tmp_path)
    assert machine.l3_cache_size == MIB
    assert "level 2" in machine.sources["l3_cache_size"]


def test_this_machine():
    machine = detect()
    assert 1 <= machine.cpu_cores <= machine.threads
    assert machine.cache_line_size & (machine.cache_line_size - 1) == 0
    made = OptimizedBuddyAllocator(MIB, 64)
    assert made.machine == machine
    assert made.cache_line_size == machine.cache_line_size
    assert made.explain().startswith("machine: this machine")


def test_params_of_the_original(laptop):
    params = laptop.get_hardware_optimized_params()
    assert ORIGINAL_PARAMS <= params.keys()
    assert (params["cpu_cores"], params["threads"], params["cache_line_size"],
            params["l3_cache_size"], params["warp_size"], params["nvme_page_size"]) == \
        (4, 8, 64, 6 * MIB, 32, 4096)
    assert (laptop.l3_cache_size, laptop.warp_size) == (6 * MIB, 32)
    with pytest.raises(AttributeError):
        laptop.l4_cache_size


def test_min_block_size_is_a_cache_line_at_least():
    made = OptimizedBuddyAllocator(MIB, 16, profile="i5-10210U")
    assert made.min_block_size == 64
    assert "raised from 16" in made.explain()
    assert OptimizedBuddyAllocator(MIB, 256, profile="i5-10210U").min_block_size == 256
    assert OptimizedBuddyAllocator(MIB, profile="i5-10210U").min_block_size == 256


@pytest.mark.parametrize("size, length, start", [
    (1, 64, 64), (64, 64, 64), (65, 128, 64), (100, 128, 64),
    (128, 128, 128), (130, 192, 128), (1000, 1024, 128), (4000, 4032, 128),
    (4096, 4096, 4096), (5000, 8192, 4096), (70_000, 73_728, 4096),
    (3 * MIB + 1, 3 * MIB + 4096, 4096),
    (6 * MIB, 6 * MIB, 2 * MIB), (7 * MIB, 8 * MIB, 2 * MIB),
])
def test_classes_of_the_laptop(laptop, size, length, start):
    laptop.allocate(1)
    handle, address = laptop.allocate(size)
    block = laptop.block(handle)
    assert block.capacity == length and block.nbytes == size
    assert address % min(start, laptop.alignment) == 0
    assert laptop.deallocate(handle)


def test_less_waste_than_powers_of_two(laptop):
    plain = buddy_mem.BuddyAllocator(16 * MIB, 64)
    for made in (laptop, plain):
        for _ in range(50):
            made.allocate(70_000)
    assert laptop.get_statistics()["internal_fragmentation"] < 0.06
    assert plain.get_statistics()["internal_fragmentation"] > 0.4


@pytest.mark.parametrize("size", [0, -1, 17 * MIB, 16 * MIB + 1, (1 << 63) - 1, 1 << 64])
def test_none(laptop, size):
    assert laptop.allocate(size) is None


def test_all_of_it(laptop):
    handle, _ = laptop.allocate(16 * MIB)
    assert laptop.allocate(1) is None
    assert laptop.deallocate(handle)


def test_explain(laptop):
    text = laptop.explain()
    for word in ("i5-10210U", "cache_line_size", "6291456", "the original's laptop",
                 "coalesced: 32 threads", "O_DIRECT", "huge pages", laptop.backend):
        assert word in text, word


def test_explain_says_what_was_left_out(tmp_path):
    write(tmp_path, server_files())
    odd = dataclasses.replace(detect(tmp_path), nvme_optimal_io_size=100_000)
    made = OptimizedBuddyAllocator(MIB, 64, profile=odd)
    assert "optimal I/O: left out, 100000 is no power of two" in made.explain()
    assert "huge: left out" in made.explain()


def test_optimal_io(tmp_path):
    write(tmp_path, server_files())
    made = OptimizedBuddyAllocator(16 * MIB, 64, profile=detect(tmp_path))
    assert [c.name for c in made.classes] == ["line", "direct I/O", "optimal I/O", "huge"]
    made.allocate(1)
    handle, address = made.allocate(131_073)
    assert address % 131_072 == 0 and made.block(handle).capacity == 135_168


@pytest.mark.parametrize("function", [
    buddy_mem.PyTorchBuddyAllocator.__init__, buddy_mem.PyTorchBuddyAllocator.allocate_tensor,
    buddy_mem.PyTorchBuddyAllocator.put_tensor, OptimizedBuddyAllocator.__init__,
    OptimizedBuddyAllocator.preallocate_common_sizes, OptimizedBuddyAllocator, detect,
    buddy_mem.create_default_allocator,
], ids=lambda function: function.__qualname__)
def test_type_hints(function):
    assert typing.get_type_hints(function)


@pytest.mark.parametrize("profile, error", [("i9", ValueError), (3, ValueError)])
def test_bad_profile(profile, error):
    with pytest.raises(error):
        OptimizedBuddyAllocator(MIB, 64, profile=profile)


@pytest.mark.parametrize("total, least, error", [
    (MIB + 1, 64, ValueError), (MIB, 65, ValueError), (64, 128, ValueError),
    (MIB, "64", TypeError), (MIB, 0, ValueError), (MIB, -64, ValueError),
])
def test_bad_sizes(total, least, error):
    with pytest.raises(error):
        OptimizedBuddyAllocator(total, least)


def test_preallocate(laptop):
    assert laptop.preallocate_common_sizes([4096, 70_000, 100]) == 4096 + 73_728 + 128
    assert laptop.preallocate_common_sizes([]) == 0
    assert laptop.preallocate_common_sizes([64 * MIB]) == 0
    assert laptop.get_statistics()["used"] == 0


def test_preallocate_bad(laptop):
    with pytest.raises(TypeError):
        laptop.preallocate_common_sizes([4096, "x"])
    assert laptop.get_statistics()["used"] == 0


def test_default_allocator(on_device):
    if on_device:
        pytest.skip("needs a region of 1 GiB")
    made = buddy_mem.create_default_allocator()
    assert (made.total_size, made.min_block_size) == (1 << 30, 256)
    assert isinstance(made, OptimizedBuddyAllocator)
