# SPDX-License-Identifier: MIT
"""What kind of exception a failure of the library is, and what it says.

Limits are those of a process of their own.
"""
import errno
import os
import subprocess
import sys

import pytest

from buddy_mem import Region, open_shared
from conftest import MIB, TOP

PROGRAM = """
import ctypes, os, resource, sys
sys.path.insert(0, sys.argv[1])
import buddy_mem
{limit}
try:
    buddy_mem.Region(16 << 20)
except Exception as error:
    print(type(error).__name__, error.errno, error.strerror == str(error.args[-1]))
    print(error)
"""
ADDRESSES = "resource.setrlimit(resource.RLIMIT_AS, (8 << 20, 8 << 20))"
LOCKED = """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
if not os.geteuid():
    os.chmod("/dev/buddy", 0o666) if os.path.exists("/dev/buddy") else None
    os.setuid(65534)
assert not ctypes.CDLL(None).mlockall(2)
"""


def region_under(limit):
    where = os.environ.get("BUDDY_MEM_INSTALLED", TOP / "userspace" / "python")
    run = subprocess.run([sys.executable, "-c", PROGRAM.format(limit=limit), str(where)],
                         capture_output=True, text=True, check=True, timeout=120)
    kind, text = run.stdout.splitlines()
    return kind, text


@pytest.mark.parametrize("limit, number, name", [
    (ADDRESSES, errno.ENOMEM, "RLIMIT_AS (ulimit -v)"),
    (LOCKED, errno.EAGAIN, "RLIMIT_MEMLOCK (ulimit -l)"),
], ids=["addresses", "locked"])
def test_a_limit_of_the_process(limit, number, name):
    """It is no full region (MemoryError), and nothing to try again (BlockingIOError)."""
    kind, text = region_under(limit)
    assert kind == f"OSError {number} True"
    assert text.startswith(f"[Errno {number}] cannot map 1") and name in text


@pytest.mark.parametrize("path, kind, text", [
    ("/nonexistent", FileNotFoundError, "cannot open /nonexistent: there is no such node"),
    (b"/tmp/\xff", FileNotFoundError, "cannot open /tmp/\udcff: there is no such node"),
    ("/", IsADirectoryError, "cannot open /: it is a directory, not a device node"),
    ("/dev/null", OSError, "its number 1:3 is of the driver mem"),
    (__file__, OSError, "it is a regular file of "),
])
def test_no_device(path, kind, text):
    with pytest.raises(kind) as caught:
        Region(MIB, backend="device", path=path)
    assert text in str(caught.value) and caught.value.errno


def test_no_block_fd():
    with open("/dev/null", "rb") as file, pytest.raises(OSError, match=r"\(/dev/null\).*no block fd"):
        open_shared(file.fileno())


def test_share_says_what_takes_a_device(region, on_device):
    if on_device:
        pytest.skip("a device can share")
    with pytest.raises(NotImplementedError, match="take /dev/buddy"):
        region.share()
