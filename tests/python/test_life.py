# SPDX-License-Identifier: MIT
"""Threads, fork(), leaks, and random calls against a model."""
import contextlib
import gc
import os
import random
import resource
import subprocess
import sys
import threading
import time
import traceback

import pytest

import buddy_mem
from buddy_mem import BuddyAllocator, Region
from conftest import TOP

MIB = 1 << 20


def in_child(run):
    """The exit status of a forked child that runs `run`."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_fork_refuses(allocator):
    handle, _ = allocator.allocate(4096)
    block = allocator.alloc(64)
    view = memoryview(block)
    view[:] = b"p" * 64

    def child():
        calls = [lambda: allocator.allocate(1), lambda: allocator.allocate(0),
                 lambda: allocator.deallocate(handle), lambda: allocator.release(handle),
                 lambda: allocator.is_valid_handle(handle), lambda: allocator.alloc(1),
                 lambda: allocator.free(handle), lambda: allocator.block(handle),
                 allocator.get_statistics, allocator.reset_statistics, allocator.close,
                 allocator.share, block.free, block.release, block.view,
                 lambda: memoryview(block)]
        for call in calls:
            with pytest.raises(PermissionError, match="fork"):
                call()
        assert bytes(view) == b"p" * 64

    assert in_child(child) == 0
    assert allocator.deallocate(handle)
    view.release()
    block.free()


@pytest.mark.parametrize("leave", [SystemExit, RuntimeError, None])
def test_leaving_a_with_in_a_child(leave):
    """What ends the body comes through, and the memory stays the parent's."""
    with Region(MIB) as region, region.alloc(64) as block:
        memoryview(block)[:] = b"p" * 64

        def child():
            caught = None
            try:
                with contextlib.ExitStack() as stack:
                    stack.push(region)
                    stack.push(block)
                    if leave:
                        raise leave(5)
            except BaseException as error:
                caught = type(error)
            assert caught is leave

        assert in_child(child) == 0
        assert bytes(block) == b"p" * 64 and region.get_statistics()["blocks"] == 1


def test_what_a_child_sees():
    closed, region = Region(MIB), Region(MIB)
    block, freed = region.alloc(64), region.alloc(64)
    freed.free()
    gone = closed.alloc(64)
    closed.close()
    never = Region.__new__(Region)

    def child():
        assert closed.closed and never.closed and not region.closed
        assert gone.freed and "freed" in repr(gone)
        assert not block.freed and "freed" not in repr(block)
        for made in (closed, never):
            with pytest.raises(ValueError, match="closed"):
                made.alloc(64)
        with closed.__class__(MIB) as mine:
            assert mine.alloc(64)
        closed.close()

    assert in_child(child) == 0


def test_fork_then_drop_everything_in_the_child(allocator):
    blocks = [allocator.alloc(1000) for _ in range(10)]
    views = [memoryview(block) for block in blocks]
    for view in views:
        view[:] = b"p" * 1000

    def child():
        nonlocal allocator, blocks, views
        for view in views:
            view.release()
        del view, views, blocks, allocator
        gc.collect()

    assert in_child(child) == 0
    assert all(bytes(view) == b"p" * 1000 for view in views)
    assert allocator.get_statistics()["blocks"] == 10
    more = allocator.allocate(1000)
    assert more and allocator.deallocate(more[0])


def test_fork_and_a_normal_exit():
    """Its interpreter is torn down with all that it inherited."""
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
import buddy_mem
allocator = buddy_mem.BuddyAllocator(1 << 20, 64)
block = allocator.alloc(64)
view = memoryview(block)
view[:] = b"p" * 64
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(view) == b"p" * 64 and allocator._verify() is None
    handle, _ = allocator.allocate(64)
    assert allocator.deallocate(handle)
"""
    done = subprocess.run([sys.executable, "-c", code, TOP / "userspace/python"],
                          capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_fork_and_a_region_of_its_own(allocator):
    def child():
        with BuddyAllocator(MIB, 64) as mine:
            handle, _ = mine.allocate(64)
            assert mine.deallocate(handle)

    assert in_child(child) == 0


def test_fork_amid_threads(allocator):
    """No child finds a lock that nobody opens."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            allocator.deallocate(allocator.allocate(64)[0])

    def child():
        with pytest.raises(PermissionError):
            allocator.allocate(64)
        with BuddyAllocator(MIB, 64) as mine:
            assert mine.allocate(64)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        statuses = [in_child(child) for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 20


def fill(allocator, index, failures):
    """Blocks that no other thread may write to."""
    rng = random.Random(index)
    mine = []
    for step in range(1500):
        if mine and (len(mine) > 20 or rng.random() < 0.5):
            handle, view, mark = mine.pop(rng.randrange(len(mine)))
            if bytes(view) != bytes([mark]) * len(view):
                failures.append("somebody wrote to a block of mine")
            view.release()
            if not allocator.deallocate(handle):
                failures.append("a handle of mine was gone")
            continue
        allocated = allocator.allocate(rng.randrange(1, 5000))
        if allocated:
            view = memoryview(allocator.block(allocated[0]))
            mark = (index * 37 + step) % 256
            view[:] = bytes([mark]) * len(view)
            mine.append((allocated[0], view, mark))
    for handle, view, _ in mine:
        view.release()
        if not allocator.deallocate(handle):
            failures.append("a handle of mine was gone at the end")


def test_threads(allocator):
    failures, before = [], sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=fill, args=(allocator, i, failures))
                   for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []
    stats = allocator.get_statistics()
    assert (stats["used"], stats["blocks"], stats["views"]) == (0, 0, 0)
    assert stats["allocations"] == stats["deallocations"] > 0


def test_close_amid_threads():
    """Others get ValueError, from one moment on, and nothing worse."""
    for _ in range(10):
        allocator = BuddyAllocator(MIB, 64)
        wrong = []

        def work():
            try:
                while True:
                    allocator.deallocate(allocator.allocate(64)[0])
            except ValueError:
                pass
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        allocator.close()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.parametrize("end", ["close", "drop"])
def test_others_run_while_memory_goes(end):
    """Another thread gets the interpreter's lock if it is let go of, not else."""
    before = sys.getswitchinterval()
    ran = []
    sys.setswitchinterval(1000)
    try:
        for _ in range(20):
            region = Region(16 * MIB)
            region.alloc(16 * MIB).populate()
            start = threading.Lock()
            start.acquire()
            thread = threading.Thread(target=lambda: (start.acquire(), ran.append(1)))
            thread.start()
            start.release()
            if end == "close":
                region.close()
            else:
                del region
            done = bool(ran)
            thread.join()
            ran.clear()
            if done:
                return
        raise AssertionError("nobody else ran")
    finally:
        sys.setswitchinterval(before)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def grows(run, times):
    """Bytes of resident memory more after many runs: the least of three rounds, as the
    interpreter takes more now and then, and a leak shows in each."""
    least = None
    for _ in range(3):
        gc.collect()
        before = resident()
        for _ in range(times):
            run()
        gc.collect()
        growth = resident() - before
        least = growth if least is None else min(least, growth)
        if least <= 0:
            break
    return least


def alone(code, *arguments):
    """The exit status and the output of a program of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1])\n" + code,
         TOP / "userspace/python", *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_imported_again():
    assert alone("""
import buddy_mem
made = buddy_mem.Region(1 << 20)
for name in [name for name in sys.modules if name.startswith("buddy_mem")]:
    del sys.modules[name]
import buddy_mem as again
assert again.Region is type(made)
assert again.from_dlpack(made.alloc(64)).nbytes == 64
""") == (0, "")


IN_ANOTHER = """
import sys
sys.path.insert(0, {path!r})
try:
    import buddy_mem
except ImportError as error:
    assert "main interpreter" in str(error), error
else:
    raise AssertionError("buddy_mem is here")
"""


@pytest.mark.parametrize("first", [True, False])
def test_another_interpreter(first):
    """It is told that buddy_mem is not for it, and takes nothing from the main one."""
    pytest.importorskip("_testcapi")
    assert alone("""
import _testcapi
if sys.argv[3]:
    import buddy_mem
for _ in range(2):
    assert _testcapi.run_in_subinterp(sys.argv[2]) == 0
import buddy_mem
assert buddy_mem.Region(1 << 20).alloc(64).__dlpack__()
""", IN_ANOTHER.format(path=str(TOP / "userspace/python")), "" if first else "x") == (0, "")


def leak_cases():
    allocator = BuddyAllocator(MIB, 64)
    region = Region(MIB)

    def pair():
        allocator.deallocate(allocator.allocate(1000)[0])

    def block():
        with region.alloc(100) as made, memoryview(made) as view:
            view[0] = 1

    def view():
        buddy_mem.from_dlpack(region.alloc(96).view("float32", (4, 6)))

    def capsules():
        made = region.alloc(64)
        made.__dlpack__()
        made.__dlpack__(max_version=(1, 0))

    def interface():
        made = region.alloc(64).view()
        made.__array_interface__, made.shape, made.strides, made.dtype, repr(made)

    def failures():
        for call in (lambda: region.alloc(2 * MIB), lambda: region.free(0),
                     lambda: region.alloc(64).view("uint8", 65),
                     lambda: region.alloc(64).view("nothing"),
                     lambda: allocator.allocate("x")):
            try:
                call()
            except (MemoryError, KeyError, ValueError, TypeError):
                pass

    return [pair, block, view, capsules, interface, failures, allocator.get_statistics]


@pytest.mark.parametrize("case", leak_cases(), ids=lambda case: case.__name__)
def test_no_leak(case):
    assert grows(case, 100_000 if case.__name__ == "pair" else 10_000) < 64 << 10


def test_no_leak_of_regions():
    def run():
        with Region(64 << 10) as region:
            region.alloc(64).free()
        BuddyAllocator(64 << 10)
        try:
            Region(64 << 10, backend="device", path="/dev/null")
        except OSError:
            pass

    descriptors = len(os.listdir("/proc/self/fd"))
    assert grows(run, 500) < 64 << 10
    assert len(os.listdir("/proc/self/fd")) == descriptors


class Model:
    """What an allocator of 64 KiB must answer, by a list of its granules."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.allocator = BuddyAllocator(64 << 10, 64)
        self.base = self.allocator.address
        self.live, self.kept, self.owner = {}, [], [None] * 1024

    def free_range(self, granules):
        return any(not any(self.owner[i:i + granules])
                   for i in range(0, 1024, granules))

    def allocate(self):
        size = int(2 ** self.rng.uniform(0, 16.5))
        granules = 1 << max(0, (size - 1).bit_length() - 6)
        possible = granules <= 1024 and self.free_range(granules)
        result = self.allocator.allocate(size)
        assert (result is not None) == possible, size
        if result:
            handle, address = result
            first = (address - self.base) // 64
            assert first % granules == 0
            assert not any(self.owner[first:first + granules])
            self.owner[first:first + granules] = [handle] * granules
            self.live[handle] = (first, granules, [])

    def give_back(self, first, granules):
        self.owner[first:first + granules] = [None] * granules

    def deallocate(self):
        handle = self.rng.choice([0, 10_000_000, *self.live])
        if handle in self.live and self.live[handle][2]:
            with pytest.raises(BufferError):
                self.allocator.deallocate(handle)
            return
        assert self.allocator.deallocate(handle) == (handle in self.live)
        if handle in self.live:
            self.give_back(*self.live.pop(handle)[:2])

    def view(self):
        if self.live:
            handle = self.rng.choice(list(self.live))
            self.live[handle][2].append(memoryview(self.allocator.block(handle)))

    def end_view(self):
        pinned = [block for block in self.live.values() if block[2]] + self.kept
        if not pinned:
            return
        block = self.rng.choice(pinned)
        block[2].pop().release()
        if not block[2] and block in self.kept:
            self.kept.remove(block)
            self.give_back(*block[:2])

    def release(self):
        if not self.live:
            return
        handle = self.rng.choice(list(self.live))
        assert self.allocator.release(handle) is True
        block = self.live.pop(handle)
        if block[2]:
            self.kept.append(block)
        else:
            self.give_back(*block[:2])

    def check(self):
        stats = self.allocator.get_statistics()
        assert stats["free"] == 64 * self.owner.count(None)
        assert stats["blocks"] == len(self.live)
        assert stats["blocks_kept_by_views"] == len(self.kept)
        assert self.allocator._verify() is None

    def run(self, steps):
        calls = [self.allocate] * 6 + [self.deallocate] * 3 + \
            [self.view, self.view, self.end_view, self.end_view, self.release]
        for step in range(steps):
            self.rng.choice(calls)()
            if step % 50 == 0:
                self.check()
        self.check()


@pytest.mark.parametrize("seed", [1, 2, time.time_ns() % 1_000_000])
def test_random_calls_against_a_model(seed):
    Model(seed).run(4000)
