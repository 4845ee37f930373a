# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced by cases/*.host, which run on the host and boot guests themselves: to cut one off and look at its disk in the
# next, or to install a package and boot again. Gives $WORK (kept for the time of the case), $VM_ROW and $VM_LONG.
set -euo pipefail
: "${WORK:?}" "${VM_ROW:?}" "${VM_TESTS:?}"
cd "$WORK"

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "failed: $*" >&2
	exit 1
}

# wait_until SECONDS COMMAND...
wait_until() {
	local end=$((SECONDS + $1)) limit=$1
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "not within $limit s: $*"
		sleep 0.1
	done
}

# new_disk FILE SIZE: an empty disk, for guest --disk FILE
new_disk() { truncate -s "$2" "$1"; }

# guest ARGUMENT...: as tests/vm/guest, with the row of this case and the tree under test
guest() { "$VM_TESTS/guest" --row "$VM_ROW" ${VM_DEST:+--dest "$VM_DEST"} "$@"; }

# guest_start NAME ARGUMENT...: the same in the background; what it prints goes to $WORK/NAME.out
guest_start() {
	local name=$1
	shift
	"$VM_TESTS/guest" --row "$VM_ROW" ${VM_DEST:+--dest "$VM_DEST"} --qemu-pid "$WORK/$name.qemu" "$@" \
		>"$WORK/$name.out" 2>&1 &
	echo $! >"$WORK/$name.pid"
}

# guest_says NAME PATTERN: a line of its output matches; for wait_until
guest_says() { grep -qE "$2" "$WORK/$1.out"; }

# guest_cut NAME: the machine loses its power: QEMU is killed, nothing in the guest gets a word in
guest_cut() {
	kill -KILL "$(cat "$WORK/$1.qemu")"
	wait "$(cat "$WORK/$1.pid")" || true
}

# guest_end NAME: waits for the command's end; its exit status
guest_end() { wait "$(cat "$WORK/$1.pid")"; }

_show() {
	local status=$? f
	if ((status != 0 && status != 77)); then
		for f in "$WORK"/*.out; do
			[[ -e $f ]] && echo "--- $f" && sed 's/^/  /' "$f"
		done
	fi
}
trap _show EXIT
