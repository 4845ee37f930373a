# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced by the runner and by common.sh: what servers, their users and the kernel are at, for a case that failed.

# look: threads of the servers, processes that wait for the kernel, requests that are under way
look() {
	local p t f
	for p in $(pgrep -x 'ublkd|ublkctl'; true); do
		echo "--- threads of $p: $(tr '\0' ' ' <"/proc/$p/cmdline")"
		for t in /proc/"$p"/task/*; do
			echo "[${t##*/} $(cat "$t/comm") $(awk '/^State/ { print $2 }' "$t/status") $(cat "$t/wchan")]"
			cat "$t/stack"
		done
		timeout 60 gdb -nx -batch -p "$p" -ex 'thread apply all bt 12' 2>&1 | grep -E '^(#|Thread)'
	done
	echo "--- processes that wait for the kernel"
	for p in /proc/[0-9]*; do
		grep -q '^State:	D' "$p/status" 2>/dev/null && echo "[$(cat "$p/comm")]" && cat "$p/stack"
	done
	echo "--- requests"
	for f in /sys/kernel/debug/block/ublkb*/{requeue_list,hctx*/busy}; do
		[[ ! -e $f ]] || sed "s|^|${f#/sys/kernel/debug/block/} |" "$f"
	done
	requests_under_way
}

# requests_under_way: one line on each device that has some: how many the kernel has given to its driver, and how many
# of them the server has with its backend
requests_under_way() {
	local q server
	for q in /sys/block/ublkb*; do
		[[ -e $q/inflight && $(tr -s ' ' <"$q/inflight") != " 0 0" ]] || continue
		server=$(timeout 10 ublkctl status "/dev/${q##*/}" --json 2>/dev/null | jq -r .counters.total.in_flight) || true
		echo "${q##*/} has$(tr -s ' ' <"$q/inflight") reads and writes under way, the server's backend ${server:-?}"
	done
}
