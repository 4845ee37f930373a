# guest: mini
# rows: 1 2
# rows-short: 1
# timeout: 240
# timeout-long: 900
# SIGKILL between every two steps of start, stop, takeover, hand-over and reload (each third in the short form). Whatever the dead server left, the next
# one goes on: with the same device where it was live, so that a file system stays mounted and an open file stays good,
# with a new one where it was not yet or no more. On kernels that do not survive a second takeover (6.12) the device is
# given up after a death within the first: its users get errors, nobody hangs, and the kernel lives.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
definition() {
	cat <<-EOT
		[Device]
		Size=$1
		Description=$2
		[Backend]
		Type=file
		Path=$WORK/step.img
		Create=sparse
		[Queues]
		Count=2
		Depth=8
	EOT
}
definition 16M first >step.conf
is_ready() { grep -q ': info: ready: ' step.log; }
is_ready_or_gone() { is_ready || is_gone "$server"; }
is_stopped() { [[ $(awk '/^State/ { print $2 }' "/proc/$server/status") == T ]]; }

# server_at STEP: one that stops itself there
server_at() {
	rm -f step.log # what an earlier one said is not said by this one
	# It must not hold its own device.
	UBLKD_STOP_AT=$1 ublkd serve step >step.log 2>&1 9<&- &
	server=$!
	echo "$server" >step.pid
}
# die_at STEP: it has come there, and dies
die_at() {
	wait_until 60 is_stopped || fail "never came to $1: $(<step.log)"
	kill -KILL "$server"
	end_server 137
	n_deaths=$((n_deaths + 1))
}
# same_device: the one of before, without an error for whoever has it open
same_device() {
	[[ $(device_of step) == "$dev" && $(readlink /proc/$$/fd/9) == "$dev" ]]
	[[ $(blockdev --getdiskseq "$dev" 2>/dev/null || cat "/sys/block/${dev#/dev/}/diskseq") == "$seq" ]]
	has "$dev" 5 s iflag=direct
}
seq_of() { cat "/sys/block/${dev#/dev/}/diskseq"; }

modprobe ublk_drv
install_definition step.conf
n_deaths=0
serve step
put "$dev" 5 s oflag=direct conv=fsync

# what there is: as the server tells it
stop_server
server_at list
wait_until 60 is_ready
mapfile -t starting < <(sed -n 's/^step //p' step.log)
kill -TERM "$server"
end_server 0
mapfile -t stopping < <(sed -n 's/^step //p' step.log | tail -n +$((${#starting[@]} + 1)))
serve step
kill_server
server_at list
wait_until 60 is_ready
mapfile -t takeover < <(sed -n 's/^step //p' step.log)
kill -USR2 "$server"
end_server 0
mapfile -t handing < <(sed -n 's/^step //p' step.log | tail -n +$((${#takeover[@]} + 1)))
echo "start: ${starting[*]}"
echo "stop: ${stopping[*]}"
echo "takeover: ${takeover[*]}"
echo "hand-over: ${handing[*]}"
((${#starting[@]} >= 8 && ${#stopping[@]} >= 3 && ${#takeover[@]} >= 8 && ${#handing[@]} >= 3))
serve step
# some STEP...: those whose turn it is
n_seen=$((RANDOM % 3))
some() {
	local step
	chosen=()
	for step; do
		n_seen=$((n_seen + 1))
		((!VM_LONG && n_seen % 3)) || chosen+=("$step")
	done
}

# start: nothing was live yet, so the device is made anew
stop_server
some "${starting[@]}"
for step in "${chosen[@]}"; do
	server_at "$step"
	die_at "$step"
	serve step
	has "$dev" 5 s iflag=direct
	[[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == 1 ]] || fail "$step: devices are left"
	stop_server
	nothing_is_left
done

# stop
some "${stopping[@]}"
for step in "${chosen[@]}"; do
	server_at "$step"
	wait_until 60 is_ready
	kill -TERM "$server"
	die_at "$step"
	serve step
	has "$dev" 5 s iflag=direct
	[[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == 1 ]] || fail "$step: devices are left"
	stop_server
	nothing_is_left
done

# hand-over, under a reader that must not see an error
serve step
seq=$(seq_of)
exec 9<"$dev"
stop_reader() { kill "$reader" 2>/dev/null || true; }
(while dd if="$dev" of=/dev/null bs=64K iflag=direct status=none 2>>read.log; do :; done) 9<&- &
reader=$!
at_exit stop_reader
kill -USR2 "$server"
end_server 0
some "${handing[@]}"
for step in "${chosen[@]}"; do
	server_at "$step"
	wait_until 60 is_ready
	kill -USR2 "$server"
	die_at "$step"
	server_at ''
	wait_until 60 is_ready
	same_device || fail "$step: not the same device: $(<step.log)"
	kill -USR2 "$server"
	end_server 0
done

# reload: grows where the kernel can, and has one definition or the other
size=16
for step in reload-grown reload-applied reload-written; do
	[[ $step != reload-grown ]] || has_feature UPDATE_SIZE || continue
	definition 16M first >/etc/ublk/step.conf
	definition "${size}M" first >/etc/ublk/step.conf
	server_at "$step"
	wait_until 60 is_ready
	size=$((size + 16))
	definition "${size}M" "$step" >/etc/ublk/step.conf
	kill -HUP "$server"
	die_at "$step"
	server_at ''
	wait_until 60 is_ready
	same_device || fail "$step: not the same device: $(<step.log)"
	if has_feature UPDATE_SIZE; then
		kill -HUP "$server"
		has_size() { [[ $(blockdev --getsize64 "$dev") == $((size << 20)) ]]; }
		wait_until 30 has_size
	else
		size=16
	fi
	kill -USR2 "$server"
	end_server 0
done

# takeover
some "${takeover[@]}"
for step in "${chosen[@]}"; do
	server_at "$step"
	die_at "$step"
	server_at ''
	wait_until 90 is_ready_or_gone
	is_ready || fail "$step: $(<step.log)"
	if same_device; then
		kill -USR2 "$server"
		end_server 0
		continue
	fi
	! has_feature SUPPORT_ZERO_COPY || fail "$step: not the same device: $(<step.log)"
	grep -q 'which this kernel does not survive twice: its requests fail, and it is made anew' step.log ||
		fail "$step: not said: $(<step.log)"
	# who had the old one open got an error, and the new one has all that was flushed
	wait_until 60 is_gone "$reader"
	grep -E "dd: (error reading|failed to open) '$dev'" read.log
	exec 9<&-
	gone() { [[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == 1 ]]; }
	wait_until 30 gone
	dev=$(device_of step)
	has "$dev" 5 s iflag=direct
	exec 9<"$dev"
	seq=$(seq_of)
	: >read.log
	(while dd if="$dev" of=/dev/null bs=64K iflag=direct status=none 2>>read.log; do :; done) 9<&- &
	reader=$!
	kill -USR2 "$server"
	end_server 0
done
server_at ''
wait_until 60 is_ready
same_device
[[ ! -s read.log ]] || fail "the reader got an error: $(<read.log)"
stop_reader
exec 9<&-
stop_server
nothing_is_left
echo "$n_deaths deaths"
