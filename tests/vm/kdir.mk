# SPDX-License-Identifier: MIT
#
# The kernel build directory (KDIR) of a root made by tests/vm/root: to be used
# like any other, `make -C KDIR M=DIR modules`.  It passes goals and variables
# on to the kernel's own Makefile, run with the root's /usr in place of this
# machine's.  So compiler, make and headers are the root's, while M, /tmp, /proc
# (which objtool wants) and the job server are those of this machine: nothing
# is copied, and the paths in messages are right.  The place is taken in a mount
# namespace, which goes away with its last process.

dir	:= $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
usr	:= $(dir:/kdir=/usr)
headers	:= $(notdir $(wildcard $(usr)/src/linux-headers-*-amd64))
goals	:= $(or $(MAKECMDGOALS),modules)
first	:= $(firstword $(goals))
# Who is not root needs a user namespace for it.
enter	:= unshare --mount $(if $(filter-out 0,$(shell id -u)),--map-root-user)
swap	:= mount --bind $(usr) /usr

.PHONY: $(goals)
$(first):
	$(if $(filter /usr/%,$(abspath $(M))),$(error $(M) is in /usr, which is another one while a module for $(headers) is built: move it))
	@$(enter) $(swap) || { echo 'to build with $(headers) be root, with the right to mount, or have user namespaces' >&2; exit 1; }
	+@$(enter) sh -c '$(swap) && PATH=/usr/bin exec make -C /usr/src/$(headers) "$$@"' sh $(goals)
ifneq ($(words $(goals)),1)
$(wordlist 2,$(words $(goals)),$(goals)): $(first)
	@:
endif
