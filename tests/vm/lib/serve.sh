# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# Sourced after common.sh by cases of a guest without systemd that look at the server itself: how it ends, what it
# logs, what it counts, what it leaves.

# serve NAME: starts what $WORK/NAME.conf defines. Sets $server, its process, and $dev, its device; its log is
# $WORK/NAME.log. It is a child of this shell, so that end_server can tell its exit status.
serve() {
	serve_begin "$1"
	wait_until 30 _has_answered "$1" || true
	! is_gone "$server" || fail "ublkd serve $1 ended: $(<"$WORK/$1.log")"
	dev=$(device_of "$1")
}

# serve_begin NAME: the same, without waiting for the device
serve_begin() {
	[[ -e $WORK/$1.pid ]] || at_exit stop_name "$1"
	mkdir -p /etc/ublk
	cp "$WORK/$1.conf" "/etc/ublk/$1.conf"
	modprobe ublk_drv
	# with nothing of what the case has open, by custom as 9: the device could not be stopped
	ublkd serve "$1" >"$WORK/$1.log" 2>&1 9<&- &
	server=$!
	echo "$server" >"$WORK/$1.pid"
}

# end_server STATUS: waits for $server, which must end with this status
end_server() {
	local got=0
	wait_until 60 is_gone "$server"
	wait "$server" || got=$?
	((got == $1)) || fail "the server ended with $got instead of $1"
}

# stop_server: told to stop it does, with status 0
stop_server() {
	kill -TERM "$server"
	end_server 0
}

# next_server NAME: at once after the end of the last one, with nothing in between that takes time. Its log is
# $WORK/NAME.log, those of all before it are in $WORK/all.log.
next_server() {
	mv "$WORK/$1.log" "$WORK/last.log"
	ublkd serve "$1" >"$WORK/$1.log" 2>&1 9<&- &
	server=$!
	echo "$server" >"$WORK/$1.pid"
	cat "$WORK/last.log" >>"$WORK/all.log"
}

# comes_up NAME: the last server is ready
comes_up() {
	wait_until 60 _is_up_or_gone "$1" || true
	_is_up "$1" || fail "not up: $(cat "$WORK/all.log" "$WORK/$1.log")"
}
_is_up() { grep -q 'ready: ' "$WORK/$1.log"; }
_is_up_or_gone() { _is_up "$1" || is_gone "$server"; }

# is_only_device DEV: no other one is there, and none has come and gone in its place
is_only_device() {
	[[ $(ls /sys/class/ublk-char) == "ublkc${1#/dev/ublkb}" ]] || fail "devices: $(ls /sys/class/ublk-char)"
}

# took_over NAME: how many servers of it have, this one included
took_over() { cat "$WORK/all.log" "$WORK/$1.log" | grep -c 'took over ublk device' || true; }

# kill_server: SIGKILL
kill_server() {
	kill -KILL "$server"
	end_server 137
}

# count NAME FILTER: a number of `ublkctl status --json`, as in: count a write.errors
count() { ublkctl status "$1" --json | jq -e ".counters.total.$2"; }

# last_error NAME: "operation offset errno" of the request that failed last; for devices with one queue
last_error() {
	ublkctl status "$1" --json |
		jq -er '.counters.queues[0].last_error | "\(.operation) \(.offset_bytes) \(.errno)"'
}

# nothing_is_left: no device in the kernel, nothing in /run/ublkd
nothing_is_left() {
	local left
	left=$(find /sys/class/ublk-char -mindepth 1 2>/dev/null
		find /run/ublkd -mindepth 1 ! -path /run/ublkd/udev 2>/dev/null) || true
	[[ -z $left ]] || fail "left behind: $left"
}

# reports NAME: the lines of its log on failed requests
reports() { grep ' in all), the last: ' "$WORK/$1.log"; }

# all_reported NAME N: these lines tell of N failures together; for wait_until
all_reported() {
	local sum
	sum=$(reports "$1" | sed 's/^.*: error: \([0-9]*\) requests\? .*/\1/' | awk '{ n += $1 } END { print n + 0 }')
	((sum == $2)) && reports "$1" | tail -n 1 | grep -qF " ($2 in all), "
}

# report_is_rare NAME SECONDS: no more lines on failures than one in ten seconds
report_is_rare() {
	local n
	n=$(reports "$1" | wc -l)
	((n <= 1 + $2 / 10)) || fail "$n reports within $2 s: $(reports "$1")"
}

# fails_with TEXT COMMAND...: it fails, and its message ends with TEXT (of strerror)
fails_with() {
	local want=$1
	shift
	! "$@" >"$WORK/.output" 2>&1 || fail "succeeded: $*"
	grep -q ": $want\$" "$WORK/.output" || fail "no '$want' from $*: $(<"$WORK/.output")"
}

# put DEV BLOCK BYTE [DD OPERAND...]: one block of 4096 bytes, all of them BYTE
put() {
	head -c 4096 /dev/zero | tr '\0' "$3" |
		dd of="$1" bs=4096 seek="$2" count=1 iflag=fullblock conv=notrunc status=none "${@:4}"
}

# has DEV BLOCK BYTE [DD OPERAND...]: this is what a read gives
has() {
	dd if="$1" of="$WORK/.block" bs=4096 skip="$2" count=1 status=none "${@:4}" || return
	if [[ $(stat -c %s "$WORK/.block") != 4096 || $(tr -d "$3" <"$WORK/.block" | wc -c) != 0 ]]; then
		echo "block $2 of $1 is not full of $3: $(od -A d -c "$WORK/.block" | head -n 5)" >&2
		return 1
	fi
}
