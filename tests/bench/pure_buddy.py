# SPDX-License-Identifier: MIT
"""A buddy allocator in Python alone: the yardstick of tests/bench/python.

A binary tree in an array, as textbooks have it: node 1 is the whole, the halves of node
n are 2n and 2n + 1, and each node knows the order of the largest free block below it.
allocate() walks down to a block that fits, deallocate() up again; both take an
RLock and keep the original's counters. It has no walk of the whole tree and makes no
object for a node, so it is on the fast side of what is straightforward.
"""
import threading
import time


class PureBuddyAllocator:
    def __init__(self, total_size, min_block_size=256):
        if total_size & (total_size - 1) or min_block_size & (min_block_size - 1):
            raise ValueError("sizes must be powers of two")
        self.total_size = total_size
        self.min_block_size = min_block_size
        self._shift = min_block_size.bit_length() - 1
        self._levels = total_size.bit_length() - min_block_size.bit_length()
        # order + 1 of the largest free block below each node; 0: none
        self._largest = [0] * (2 << self._levels)
        for node in range(1, 2 << self._levels):
            self._largest[node] = self._levels - node.bit_length() + 2
        self._blocks = {}
        self._next = 1
        self._lock = threading.RLock()
        self.allocations = self.deallocations = 0
        self.allocation_time_ns = self.deallocation_time_ns = 0

    def allocate(self, size):
        start = time.perf_counter_ns()
        with self._lock:
            if size <= 0 or size > self.total_size:
                return None
            order = max(0, (size - 1).bit_length() - self._shift)
            largest, need = self._largest, order + 1
            if largest[1] < need:
                return None
            node = 1
            for _ in range(self._levels - order):
                node *= 2
                # the lower half if it fits there, but not where the other has less room
                left, right = largest[node], largest[node + 1]
                if left < need or need <= right < left:
                    node += 1
            offset = (node << order) - (1 << self._levels) << self._shift
            largest[node] = 0
            up = node >> 1
            while up:
                left, right = largest[2 * up], largest[2 * up + 1]
                largest[up] = left if left > right else right
                up >>= 1
            handle = self._next
            self._next += 1
            self._blocks[handle] = (node, order)
            self.allocations += 1
            self.allocation_time_ns += time.perf_counter_ns() - start
            return handle, offset

    def deallocate(self, handle):
        start = time.perf_counter_ns()
        with self._lock:
            block = self._blocks.pop(handle, None)
            if block is None:
                return False
            node, order = block
            largest = self._largest
            largest[node] = whole = order + 1
            node >>= 1
            while node:
                left, right = largest[2 * node], largest[2 * node + 1]
                if left == right == whole:
                    largest[node] = whole + 1
                else:
                    largest[node] = left if left > right else right
                whole += 1
                node >>= 1
            self.deallocations += 1
            self.deallocation_time_ns += time.perf_counter_ns() - start
            return True
