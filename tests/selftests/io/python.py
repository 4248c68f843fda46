# SPDX-License-Identifier: MIT
"""A row of the I/O matrix: Python's own mmap module on blocks.

Usage: python.py DISK. Prints "yes", or "no: ERRNO" where a call refuses the block;
an assertion that fails ends it with a traceback.
"""
import errno
import fcntl
import mmap
import os
import struct
import sys

# struct buddy_alloc, and _IOWR(0xBD, 0x81, struct buddy_alloc)
ALLOC = struct.Struct("=II10Q")
OUT_OFFSET = 5
IOC_ALLOC = 3 << 30 | ALLOC.size << 16 | 0xBD << 8 | 0x81


def block_map(fd, length):
    reply = bytearray(ALLOC.pack(ALLOC.size, 0, length, *[0] * 9))
    fcntl.ioctl(fd, IOC_ALLOC, reply)
    offset = ALLOC.unpack(reply)[OUT_OFFSET]
    return mmap.mmap(fd, length, offset=offset)


def use(memory, length, disk):
    pattern = bytes(range(256)) * (length // 256)
    assert memory[:] == bytes(length)
    memory[:] = pattern
    assert memory.find(b"\xff\x00\x01", 4096) == 4096 + 255
    assert os.pwritev(disk, [memory], 0) == length
    memory[:] = bytes(length)
    with memoryview(memory) as view:
        assert os.preadv(disk, [view[:4096], view[4096:]], 0) == length
        assert view[:] == pattern
    memory.madvise(mmap.MADV_DONTNEED)
    assert memory[-256:] == pattern[:256]
    memory.close()


def main():
    disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    fd = os.open("/dev/buddy", os.O_RDWR)
    try:
        for length in (3 * 4096, (4 << 20) + 3 * 4096):
            use(block_map(fd, length), length, disk)
        use(mmap.mmap(fd, (2 << 20) + 4096), (2 << 20) + 4096, disk)
    except OSError as error:
        print("no:", errno.errorcode[error.errno])
    else:
        print("yes")


main()
