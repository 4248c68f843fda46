# SPDX-License-Identifier: MIT
#
# loading.sh: what the tests share that load and unload modules. To be sourced.
# shellcheck shell=bash

PATH=$PATH:/usr/sbin:/sbin
n=0

report() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

# kB that are free: MemFree, and the free pages on per-CPU lists, which it does
# not count and which grow by tens of MB with use; without caches.
mem_free() {
	local kb
	sync
	for _ in 1 2 3; do
		echo 3 >/proc/sys/vm/drop_caches
		sleep 0.2
	done
	kb=$(awk '/^MemFree:/ { print $2 }' /proc/meminfo)
	awk -v kb="$kb" '/^  *count:/ { pages += $2 } END { print kb + 4 * pages }' \
		/proc/zoneinfo
}

loaded() { grep -q '^buddy_mem ' /proc/modules; }
