# guest: mini
# rows-short: 2
# timeout: 120
# [Recovery] Mode=: what users get whose requests were with a server that died, what those get who come while there is
# none, and that all is well when there is the next one. A stop is no death: what the page cache holds is written back
# first, which the kernel would not do by itself for a device that is recoverable.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/load.sh"
definition() {
	cat <<-E
		[Device]
		Size=16M
		[Queues]
		Count=1
		Depth=8
		[Backend]
		Type=file
		Path=$WORK/$1.img
		Create=sparse
		[Recovery]
		Mode=$1
		[Fault]
		HangWhile=$WORK/hang
	E
}
in_server() { [[ $(count "$mode" in_flight) == "$1" ]]; }
# waits PID: its request is with the kernel
waits() { grep -q submit_bio_wait "/proc/$1/stack"; }
state() { (ublkctl status "$mode" --json || true) | jq -r .state; } # its status tells the same
# comes_back NAME PID [TEXT]: with success, or with this error
comes_back() {
	local got=0
	wait_until 30 is_gone "$2" || fail "$mode: the $1 never comes back"
	wait "$2" || got=$?
	if [[ -n ${3-} ]]; then
		[[ $got == 1 && $(grep ^dd: "$1.err") == *": $3" ]] || fail "$mode: the $1 got $got: $(<"$1.err")"
	else
		((got == 0)) || fail "$mode: the $1 got $got: $(<"$1.err")"
	fi
}
# read_one NAME: by a descriptor that has been open all the time; sets $pid
read_one() {
	dd bs=4096 count=1 iflag=direct of="$1.got" status=none <&9 2>"$1.err" &
	pid=$!
	at_exit end_quietly "$pid"
}
# gave_r NAME: a block of what there was from the start
gave_r() { [[ $(stat -c %s "$1.got") == 4096 && $(tr -d r <"$1.got" | wc -c) == 0 ]] || fail "$mode: the $1 got something else"; }
write_one() {
	put /dev/fd/9 100 w oflag=direct 2>"$1.err" &
	pid=$!
	at_exit end_quietly "$pid"
}

# die_with_requests: a read and a write are with the server, a third request comes when it is dead
die_with_requests() {
	local seq
	definition "$mode" >"$mode.conf"
	serve "$mode"
	head -c 64K /dev/zero | tr '\0' r | dd of="$dev" bs=64K iflag=fullblock oflag=direct status=none
	exec 9<>"$dev"
	seq=$(<"/sys/block/${dev#/dev/}/diskseq")
	touch hang
	read_one reader
	reader=$pid
	write_one writer
	writer=$pid
	wait_until 30 in_server 2
	kill_server
	rm hang "$mode.log"
	dead_state=$(state)
	diskseq=$seq
}
# same_device: nothing has happened to it
same_device() {
	[[ $(device_of "$mode") == "$dev" && $(<"/sys/block/${dev#/dev/}/diskseq") == "$diskseq" && $(state) == live ]]
	grep -q "$mode: notice: took over ublk device ${dev#/dev/ublkb}\$" "$mode.log"
	put /dev/fd/9 101 z oflag=direct
	has "$dev" 101 z iflag=direct
}
end_of_mode() {
	exec 9<&-
	stop_server
	nothing_is_left
	[[ $(tr -dc z <"$mode.img" | wc -c) == 4096 ]]
}

# All wait, and nobody notices but by the clock.
mode=reissue
die_with_requests
[[ $dead_state == quiesced ]]
read_one late
late=$pid
wait_until 30 waits "$late"
for pid in "$reader" "$writer" "$late"; do
	! is_gone "$pid" || fail "$mode: answered without a server: $(cat ./*.err)"
done
serve "$mode"
comes_back reader "$reader"
comes_back writer "$writer"
comes_back late "$late"
gave_r reader
gave_r late
has "$dev" 100 w iflag=direct
same_device
end_of_mode

# Those who were with the server fail; the others wait.
mode=queue
die_with_requests
comes_back reader "$reader" 'Input/output error'
comes_back writer "$writer" 'Input/output error'
[[ $dead_state == quiesced ]]
read_one late
late=$pid
wait_until 30 waits "$late"
! is_gone "$late" || fail "$mode: answered without a server: $(<late.err)"
serve "$mode"
comes_back late "$late"
gave_r late
same_device
end_of_mode

# All fail until there is a server again, by the same device.
mode=fail
if has_feature USER_RECOVERY_FAIL_IO; then
	die_with_requests
	comes_back reader "$reader" 'Input/output error'
	comes_back writer "$writer" 'Input/output error'
	[[ $dead_state == fail-io ]]
	read_one late
	comes_back late "$pid" 'Remote I/O error'
	serve "$mode"
	read_one late
	comes_back late "$pid"
	gave_r late
	same_device
	end_of_mode
else
	definition fail >fail.conf
	serve_begin fail
	end_server 69
	[[ $(grep 'error: ' fail.log) == "fail: error: [Recovery] Mode=fail needs Linux 6.13 or newer (USER_RECOVERY_FAIL_IO, \
see \"ublkctl features\"): set reissue, queue or none" ]]
	[[ ! -e fail.img ]] || fail "an image was made for nothing"
	nothing_is_left
fi

# The device goes with its server; the next one makes another, with the same data.
mode=none
die_with_requests
comes_back reader "$reader" 'Input/output error'
comes_back writer "$writer" 'Input/output error'
[[ $dead_state == dead ]]
is_away() { [[ ! -e $dev ]]; }
wait_until 30 is_away
# by who still has it open: it is a device of no size now
read_one late
comes_back late "$pid"
[[ ! -s late.got ]]
exec 9<&-
serve "$mode"
exec 9<>"$dev"
has "$dev" 3 r iflag=direct
put "$dev" 101 z oflag=direct
expect_status 1 grep 'took over' "$mode.log"
end_of_mode

# ---- a stop ----
mode=reissue
rm -f "$mode.img" "$mode.log"
serve "$mode"
head -c 4M /dev/urandom >want
# dirty BLOCK: one MiB of it, into the page cache and no further
dirty() {
	dd if=want of=/dev/fd/9 bs=1M skip="$1" seek="$1" count=1 conv=notrunc status=none
	written=$(count "$mode" write.bytes)
}
is_told() { grep -q "$mode: notice: $dev is .*; serving it until that ends\$" "$mode.log"; }
same_so_far() { cmp -n $(($1 << 20)) want "$mode.img"; }

# by who is gone when the stop comes, and by who writes while it waits
dd if=want of="$dev" bs=1M count=1 conv=notrunc status=none
exec 9<>"$dev"
dirty 1
[[ $(count "$mode" write.bytes) == "$written" ]]
kill -TERM "$server"
wait_until 30 is_told
dirty 2
exec 9<&-
end_server 0
same_so_far 3
nothing_is_left

# By who is not seen from there. 6.12 stops the device all the same; newer kernels know better.
mkdir empty
rm "$mode.log"
unshare --mount bash -c 'mount --bind "$1" "/proc/$2/fd" && exec ublkd serve "$3"' - "$WORK/empty" $$ "$mode" \
	>"$mode.log" 2>&1 9<&- &
server=$!
echo "$server" >"$mode.pid"
wait_until 30 _has_answered "$mode"
dev=$(device_of "$mode")
exec 9<>"$dev"
before=$(count "$mode" write.bytes)
dirty 3
[[ $written == "$before" ]] || fail "the page cache was written back before its time"
kill -TERM "$server"
if has_feature SAFE_STOP_DEV; then
	# what this shell starts meanwhile can be seen, so it has not got the descriptor
	wait_until 30 grep "$mode: notice: $dev is in use by somebody who cannot be seen from here; serving" "$mode.log" 9<&-
	exec 9<&-
fi
end_server 0
exec 9<&-
same_so_far 4
nothing_is_left
