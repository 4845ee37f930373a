# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after common.sh by cases that do something to a server whose device is in use: what uses it, in the
# background, and what it has to say at the end. Targets are devices, or files on them.

# pass_time MILLISECONDS: where a moment has to be any moment, and nothing waits for it
pass_time() {
	local s
	printf -v s '%d.%03d' $(($1 / 1000)) $(($1 % 1000))
	read -rt "$s" <> <(:) || true
}

# torture_begin TARGET OPTION...: until torture_end
torture_begin() {
	torture --seconds=1000000 "${@:2}" "$1" >torture.out 2>torture.err &
	torture=$!
	at_exit end_quietly "$torture"
}

# torture_end: nothing was wrong, and there was something to see
torture_end() {
	kill -TERM "$torture"
	wait_until 120 is_gone "$torture" || fail "torture hangs: $(requests_under_way)"
	wait "$torture" || fail "torture: $(cat torture.out torture.err)"
	echo "figure: torture: $(<torture.out)"
	jq -e '.mismatches == 0 and .errors == 0 and .checked_blocks > 1000' torture.out >/dev/null
}

# fio_begin TARGET OPTION...: writes and verifies again and again, until fio_end
fio_begin() {
	rm -f fio.enough
	_fio_rounds "$@" &
	fio=$!
	at_exit end_quietly "$fio"
	at_exit touch fio.enough
}

_fio_rounds() {
	local n=0
	until [[ -e fio.enough ]]; do
		fio --name=load --filename="$1" --rw=randwrite --direct=1 --ioengine=io_uring --iodepth=16 \
			--bsrange=4k-64k --size=6M --verify=crc32c --verify_fatal=1 --verify_state_save=0 --fsync=32 \
			--randseed=$n "${@:2}" >fio.log 2>&1 </dev/null || return
		n=$((n + 1))
		echo $n >fio.rounds
	done
}

fio_end() {
	touch fio.enough
	wait_until 120 is_gone "$fio" || fail "fio hangs: $(requests_under_way) $(<fio.log)"
	wait "$fio" || fail "fio: $(<fio.log)"
	echo "figure: fio has written and verified $(<fio.rounds) times"
}

# pauses_begin TARGET OPTION...: until pauses_end
pauses_begin() {
	rm -f pauses.events
	mkfifo pauses.events
	# what the case starts from now on may keep the pipe open: it does not end with it
	pauses "${@:2}" "$1" <pauses.events >pauses.out 2>pauses.err &
	pauses=$!
	exec 6>pauses.events
	at_exit end_quietly "$pauses"
}

# event TEXT: before what it tells of is done
event() { echo "$1" >&6; }

# pauses_end WHAT N: there were N events and no errors
pauses_end() {
	echo end >&6
	wait_until 60 is_gone "$pauses" || fail "pauses hangs: $(requests_under_way)"
	exec 6>&-
	wait "$pauses" || fail "pauses: $(cat pauses.out pauses.err)"
	echo "figure: pause of $1: $(tail -n 1 pauses.out)"
	tail -n 1 pauses.out | jq -e --argjson n "$2" '.events == $n and .errors == 0' >/dev/null
}

# end_quietly PID
end_quietly() { kill -KILL "$1" 2>/dev/null; }

# nobody_waits: no process waits for the kernel without an end; for wait_until
nobody_waits() {
	local p
	for p in /proc/[0-9]*; do
		[[ $(awk '/^State/ { print $2 }' "$p/status" 2>/dev/null) != D || ! -s $p/cmdline ]] || return 1
	done
}

# median: of the numbers on stdin
median() { sort -n | awk '{ n[NR] = $1 } END { print n[int((NR + 1) / 2)] }'; }
