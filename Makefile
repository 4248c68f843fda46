# SPDX-License-Identifier: MIT
# The front door: `make help` lists what there is.

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

VERSION := $(shell cat VERSION)
KVER	?= $(shell uname -r)
KDIR	?= /lib/modules/$(KVER)/build
B	:= build

include userspace/Makefile.inc
include userspace/python/Makefile.inc
include userspace/install/Makefile.inc
include tests/Makefile.inc

.PHONY: all help run module clean

help:
	@echo 'make run        from a fresh machine to text out of /dev/buddy, in a VM'
	@echo 'make test       the standard suites; the last line is N passed, N failed, N skipped'
	@echo 'make test-core  the tests of this machine: tree, library, pool, command, Python'
	@echo 'make test-vm    the tests that need the module, in a VM'
	@echo 'make test-debug  on a kernel with checkers, which is built once'
	@echo 'make test-static  what the kernel tree has to check sources with'
	@echo 'make test-all   every test, on ten kernels; builds three more with checkers'
	@echo 'make bench-core  instructions per operation of the tree, with ceilings'
	@echo 'make bench-device  instructions of ALLOC and FREE, by length, in a VM'
	@echo 'make bench-capacity  how much of a region is used when blocks come and go, in a VM'
	@echo 'make bench-day  the same in the library, for a day in which lengths drift'
	@echo 'make bench-map  the life of a buffer of 256 MiB beside hugetlb, THP, memfd'
	@echo 'make bench-load  from a cold file to ready weights, by five ways'
	@echo 'make bench-pool  the pool beside glibc, jemalloc and mimalloc'
	@echo 'make bench-python  allocate and deallocate beside a buddy allocator in Python alone'
	@echo 'make fuzz-core  libFuzzer on the tree, SECONDS=60'
	@echo 'make fuzz-device  calls at random on the device, on the kernel with checkers, SECONDS=60'
	@echo 'make pictures   draws docs/pictures again'
	@echo 'make            the userspace, in build/'
	@echo 'make python     buddy_mem for Python, in place; python-wheel: a wheel in build/'
	@echo 'make module     buddy_mem.ko for KVER=$$(uname -r)'
	@echo 'make install    library, command, headers, man pages, udev rule (PREFIX=/usr/local)'
	@echo 'make uninstall  removes them, but not what was changed in /etc'
	@echo 'make dkms-install, dkms-uninstall  the module, for KVER and each later kernel'
	@echo 'make clean      removes build/'
	@echo 'How long each takes: README.md'

all: programs-needs
	@$(MAKE) userspace

run:
	@userspace/install/need build vm
	@userspace/examples/run-in-vm

# The kernel's build system writes beside its sources: give each kernel a tree
# of links of its own.
module:
	@test -e $(KDIR)/Makefile || userspace/install/need --headers $(KVER)
	@mkdir -p $(B)/module-$(KVER)
	@cp -rsf $(abspath Kbuild VERSION module uapi) $(B)/module-$(KVER)/
	$(MAKE) -C $(KDIR) M=$(abspath $(B)/module-$(KVER)) modules

clean:
	rm -rf $(B)
