# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after common.sh by cases of a guest without systemd that run the manager, `ublkd manage`.

# room_for N: the driver allows so many devices
room_for() {
	modprobe ublk_drv
	(($(</sys/module/ublk_drv/parameters/ublks_max) >= $1)) ||
		echo "$1" >/sys/module/ublk_drv/parameters/ublks_max
}

# define NAME TYPE SIZE [LINE...]: a definition for the manager; lines of [Backend] follow
define() {
	mkdir -p /etc/ublk
	{
		printf '[Device]\nSize=%s\n[Boot]\nManager=yes\n' "$3"
		printf '[Queues]\nCount=1\nDepth=16\nMaxIO=64K\n[Backend]\nType=%s\n' "$2"
		(($# < 4)) || printf '%s\n' "${@:4}"
	} >"/etc/ublk/$1.conf"
}
remove_definitions() { rm -rf /etc/ublk; }

# start_manager: sets $manager, its process; its log is $WORK/manager.log, from its start. The names that it
# gets are in $manager_names, an array.
manager_names=()
start_manager() {
	modprobe ublk_drv
	: >"$WORK/manager.log"
	# what a case holds open on descriptor 3, the manager does not hold
	ublkd manage "${manager_names[@]}" >>"$WORK/manager.log" 2>&1 3<&- &
	manager=$!
	at_exit end_by_force "$manager"
}

end_by_force() {
	! is_gone "$1" || return 0
	tail -n 40 "$WORK/manager.log" >&2
	kill -KILL "$1"
}

# says TEXT: a line of the log holds it; for wait_until
says() { grep -qF -e "$1" "$WORK/manager.log"; }

# manager_is_ready SECONDS: all devices that shall come have come
manager_is_ready() {
	wait_until "$1" _is_ready_or_gone
	! is_gone "$manager" || fail "the manager ended: $(<"$WORK/manager.log")"
}
_is_ready_or_gone() { grep -q '^info: ready: [0-9]* device' "$WORK/manager.log" || is_gone "$manager"; }

# manager_ends SECONDS STATUS: by itself, or as it was told to
manager_ends() {
	local got=0
	wait_until "$1" is_gone "$manager"
	wait "$manager" || got=$?
	((got == $2)) || fail "the manager ended with $got instead of $2: $(tail -n 20 "$WORK/manager.log")"
}

# is_served NAME: the lock of this name is the manager's
is_served() { [[ $(ublkctl status "$1" --json | jq -r '.server_pid') == "$manager" ]]; }

# reload_manager SECONDS STATUS: SIGHUP, and wait for the answer; STATUS is the errno, 0 if all went well.
# Sets $answer.
reload_manager() {
	local before=0
	[[ ! -e /run/ublkd/.manager/reload ]] || before=$(head -n 1 /run/ublkd/.manager/reload)
	kill -HUP "$manager"
	wait_until "$1" _has_reloaded "$before"
	answer=$(tail -n 1 /run/ublkd/.manager/reload)
	[[ $(sed -n 2p /run/ublkd/.manager/reload) == "$2" ]] || fail "the reload says: $answer"
}
_has_reloaded() { (($(head -n 1 /run/ublkd/.manager/reload) > $1)); }

# figures_of_process PID: "N threads, N kB, N descriptors"
figures_of_process() {
	local threads fds kb
	threads=("/proc/$1/task/"*)
	fds=("/proc/$1/fd/"*)
	kb=$(awk '$1 == "Pss:" { print $2 }' "/proc/$1/smaps_rollup")
	echo "${#threads[@]} threads, $kb kB, ${#fds[@]} descriptors"
}
