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

# refused NAME MESSAGE PARAM...: insmod of $ko fails, says why in the log, has taken
# nothing, unless it was forced, and leaves nothing
refused() {
	local name=$1 message=$2
	shift 2
	dmesg -C
	! insmod "$ko" "$@" 2>/dev/null && ! loaded && ! [ -e /dev/buddy ] &&
		{ [[ " $* " = *' force=1 '* ]] || ! dmesg | grep -q '/dev/buddy: '; } &&
		dmesg | grep -qF "$message"
	report $? "$name"
	dmesg | sed -n 's/.*buddy_mem: /# /p'
}

# works NAME [END]: the parameters that the log tells to write do, and end so
works() {
	local line
	line=$(dmesg | sed -n 's/.*: write \(size=.*\), or add force=1$/\1/p
		s/.*: write \(size=.*\), free memory, or load.*/\1/p; s/.*; write \(size=.*\)$/\1/p')
	# shellcheck disable=SC2086
	dmesg -C
	[ -n "$line" ] && [ -z "${2:-}" -o "${line%"${2:-}"}" != "$line" ] && insmod "$ko" $line
	report $? "$1"
	echo "# $line"
	dmesg | sed -n 's/.*buddy_mem: /# /p'
	if loaded; then rmmod buddy_mem; fi
}

loaded() { grep -q '^buddy_mem ' /proc/modules; }
