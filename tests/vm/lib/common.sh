# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced by every case, in both kinds of guest. Gives $WORK (empty directory of this case), $SCRATCH0 and $SCRATCH1
# (empty disks of 4 GiB), $VM_KIND, $VM_ROW, $VM_LONG (0 or 1), $VM_EXTRA if the header asks for it, and the functions
# below. No bare sleep: wait_until.
set -euo pipefail
: "${WORK:?}" "${VM_LIB:?}"
cd "$WORK"

# shellcheck source=tests/vm/lib/look.sh
. "$VM_LIB/look.sh"

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "failed: $*" >&2
	exit 1
}

# at_exit COMMAND...: runs when the case ends, last one first, whatever happened. Kept in a file, since what starts
# something is mostly called in $(...).
_undo=$WORK/.undo
: >"$_undo"
at_exit() {
	printf '%q ' "$@" >>"$_undo"
	echo >>"$_undo"
}
_run_at_exit() {
	local status=$? line
	local -a lines
	trap - EXIT ERR
	set +e
	# before what hangs is ended with the rest; of a case that took too long, the runner looks when it is gone
	if ((status != 0 && status != 77 && status != 143)); then
		: >"$WORK/.looked"
		look >&2
	fi
	mapfile -t lines < <(tac "$_undo")
	for line in "${lines[@]}"; do
		eval "$line"
	done
	exit "$status"
}
trap _run_at_exit EXIT
_interrupted() {
	local i where=
	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		where+=" ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}"
	done
	echo "failed: interrupted at$where" >&2
	exit 143
}
trap _interrupted TERM
# The line that failed, which `set -e` alone does not tell. Functions of a condition are not in it.
trap 'echo "failed: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND (status $?)" >&2' ERR
set -E

# kernel_log: what the kernel has said since the case began; others may have provoked errors before
_kernel_log_begin=$(dmesg | wc -l)
kernel_log() { dmesg | tail -n +$((_kernel_log_begin + 1)); }

# wait_until SECONDS COMMAND...
wait_until() {
	local end=$((SECONDS + $1)) limit=$1
	shift
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= end)); then
			echo "failed: not within $limit s: $*" >&2
			return 1
		fi
		sleep 0.1
	done
}

# expect_status STATUS COMMAND...: its output goes on
expect_status() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	((got == want)) || fail "status $got instead of $want: $*"
}

# has_feature NAME: the running kernel has it, as `ublkctl features` tells
has_feature() {
	local has
	modprobe ublk_drv
	has=$(ublkctl features --json | jq -r --arg name "$1" '.[] | select(.name == $name) | .available')
	[[ -n $has ]] || fail "ublkctl features knows no $1"
	[[ $has == true ]]
}

# require_feature NAME: or the case is skipped
require_feature() { has_feature "$1" || skip "this kernel has no $1"; }

# install_definition FILE.conf [NAME]: FILE is a path, or a name in /vm/files
install_definition() {
	local file=$1 name
	[[ -e $file ]] || file=/vm/files/$1
	name=${2:-$(basename "$file" .conf)}
	mkdir -p /etc/ublk
	cp "$file" "/etc/ublk/$name.conf"
	at_exit rm -rf "/etc/ublk/$name.conf" "/etc/ublk/$name.conf.d"
	[[ $VM_KIND != full ]] || systemctl daemon-reload
}

# start_device FILE.conf: prints /dev/ublkbN. Without systemd `ublkd serve` runs in the background of the case.
start_device() {
	local name
	name=$(basename "$1" .conf)
	install_definition "$1"
	start_name "$name"
}

# start_name NAME: starts what is defined already
start_name() {
	local name=$1
	if [[ $VM_KIND == full ]]; then
		at_exit systemctl --no-pager stop "ublk@$name.service"
		systemctl start "ublk@$name.service"
	else
		modprobe ublk_drv
		ublkd serve "$name" >"$WORK/$name.log" 2>&1 &
		echo $! >"$WORK/$name.pid"
		at_exit stop_name "$name"
		wait_until 30 _has_answered "$name" || true
		! is_gone "$(<"$WORK/$name.pid")" || fail "ublkd serve $name ended"
	fi
	device_of "$name"
}

_has_answered() { device_of "$1" || is_gone "$(<"$WORK/$1.pid")"; }

# stop_name NAME: returns when nothing of it runs any more
stop_name() {
	local name=$1 pid
	if [[ $VM_KIND == full ]]; then
		systemctl stop "ublk@$name.service"
		return
	fi
	[[ -e $WORK/$name.pid ]] || return 0
	pid=$(cat "$WORK/$name.pid")
	kill -TERM "$pid" 2>/dev/null || true
	wait_until 60 is_gone "$pid"
	cat "$WORK/$name.log" >&2
	rm "$WORK/$name.pid"
}

# is_gone PID: no such process, or only its exit status is left
is_gone() { [[ ! -e /proc/$1 || $(awk '/^State/ { print $2 }' "/proc/$1/status") == Z ]]; }

# device_of NAME: prints /dev/ublkbN of a running device
device_of() {
	ublkctl status "$1" --json | jq -er 'if type == "array" then .[0] else . end | .node'
}

# is_live DEV: has a server and answers
is_live() { timeout 5 dd if="$1" of=/dev/null bs=4096 count=1 iflag=direct status=none; }

# expand_list: "0-2,4" on stdin, one number a line
expand_list() {
	tr ',' '\n' | awk -F- '{ for (i = $1; i <= ($2 == "" ? $1 : $2); i++) print i + 0 }' | sort -n
}
