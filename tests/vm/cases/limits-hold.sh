# guest: mini
# rows-short: 2
# timeout: 180
# [Limits] hold over all queues of a device, change and go while it is in use, and cost an idle one nothing. Small
# requests do not wait behind large ones. A server that is left or dies while requests wait for their time loses none.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/load.sh"
# definition QUEUES LIMIT...
definition() {
	cat <<-E
		[Device]
		Size=32M
		[Queues]
		Count=$1
		Depth=64
		MaxIO=256K
		[Backend]
		Type=file
		Path=$WORK/limits.img
		Create=sparse
		[Limits]
	E
	printf '%s\n' "${@:2}"
}
# limit QUEUES LIMIT...: from now on
limit() {
	definition "$@" >limits.conf
	cp limits.conf /etc/ublk/
	ublkd reload limits
}
# load NAME READ-OR-WRITE BYTES DEPTH: on each CPU, until end_load
load() {
	fio --name="$1" --filename="$dev" --rw="rand$2" --bs="$3" --direct=1 --ioengine=io_uring --iodepth="$4" --size=8M \
		--numjobs=2 --offset_increment=8M --cpus_allowed=0-1 --cpus_allowed_policy=split --time_based --runtime=1000 \
		>"$1.log" 2>&1 </dev/null &
	loads[$1]=$!
	at_exit end_quietly "${loads[$1]}"
}
end_load() {
	kill -INT "${loads[$1]}"
	wait_until 60 is_gone "${loads[$1]}" || fail "fio hangs: $(<"$1.log")"
	! grep -E 'err= *[1-9]|error' "$1.log" || fail "fio: $(<"$1.log")"
}
declare -A loads
# done_so_far: "READS READ-BYTES WRITES WRITTEN-BYTES MICROSECONDS", as the kernel counts; no process between the counts and
# the time
done_so_far() {
	local -a s
	local now
	now=${EPOCHREALTIME/./}
	read -ra s <"/sys/block/${dev#/dev/}/stat"
	echo "${s[0]} $((s[2] * 512)) ${s[4]} $((s[6] * 512)) $now"
}
# measure: sets rates, per second, in that order
measure() {
	local -a from to
	pass_time 200 # what was under way is done
	read -ra from < <(done_so_far)
	pass_time "${1-1000}"
	read -ra to < <(done_so_far)
	mapfile -t rates < <(for i in 0 1 2 3; do
		echo $(((to[i] - from[i]) * 1000000 / (to[4] - from[4])))
	done)
}
# holds READS-OR-BYTES LIMIT WRITES-OR-BYTES LIMIT: never more than 10 % above. Below, it depends on how much of the time
# the machine runs at all, so it may need some tries.
holds() {
	local i
	for ((i = 0; i < 8; i++)); do
		measure
		((rates[$1] <= $2 * 110 / 100)) || fail "${rates[$1]} a second, with a limit of $2"
		((rates[$3] <= $4 * 110 / 100)) || fail "${rates[$3]} a second, with a limit of $4"
		if ((rates[$1] >= $2 * 90 / 100 && rates[$3] >= $4 * 90 / 100)); then
			echo "figure: $queues queues: ${rates[$1]} of $2 read, ${rates[$3]} of $4 written a second"
			return 0
		fi
	done
	fail "${rates[$1]} and ${rates[$3]} a second, with limits of $2 and $4"
}
readonly READS=0 READ_BYTES=1 WRITES=2 WRITTEN_BYTES=3

for queues in 1 2; do
	definition "$queues" ReadBandwidth=4M WriteBandwidth=2M >limits.conf
	rm -f limits.log
	serve limits
	load reader read 64k 8
	load writer write 64k 8
	holds $READ_BYTES $((4 << 20)) $WRITTEN_BYTES $((2 << 20))
	if ((queues == 1)); then
		# as always with one queue; the rest of this is for what queues share
		end_load reader
		end_load writer
		stop_server
		continue
	fi
	limit "$queues" ReadBandwidth=2M WriteBandwidth=3M
	holds $READ_BYTES $((2 << 20)) $WRITTEN_BYTES $((3 << 20))
	limit "$queues" ReadIOPS=50 WriteIOPS=80
	holds $READS 50 $WRITES 80
	limit "$queues"
	for ((i = 0; i < 8; i++)); do
		measure 500
		((rates[READS] <= 55 || rates[WRITES] <= 88)) || break
	done
	((i < 8)) || fail "limits that were removed still hold: ${rates[*]}"
	for ((i = 0; i < queues; i++)); do
		ublkctl status limits --json | jq -e --argjson i $i \
			'.counters.queues[$i] | .read.count > 100 and .write.count > 100' >/dev/null
	done
	end_load reader
	end_load writer

	is_full() { (($(awk '{ print $1 + $2 }' "/sys/block/${dev#/dev/}/inflight") >= 15)); }
	# Behind 4 MiB of large requests, at 4 MiB a second, it would be a second.
	limit "$queues" ReadBandwidth=4M WriteBandwidth=4M
	for what in read write; do
		load large "$what" 256k 8
		wait_until 30 is_full
		for ((i = 0; i < 8; i++)); do
			fio --name=small --filename="$dev" --rw=randread --bs=4k --direct=1 --ioengine=psync --time_based \
				--runtime=1 --output-format=json >small.json 2>small.err </dev/null || fail "$(<small.err)"
			ms=$(jq '.jobs[0].read.clat_ns.mean / 1000000 | floor' small.json)
			((ms >= 150)) || break
		done
		echo "figure: $queues queues: a small read behind large ${what}s takes $ms ms"
		((ms < 150)) || fail "small reads wait behind large ${what}s for $ms ms"
		end_load large
	done

	# Threads of queues sleep if nobody wants anything of them; every ten seconds each is asked whether it lives. The
	# kernel's own workers in the process end by themselves, some seconds after they had something to do.
	switches() {
		awk '$1 == "Name:" { ours = $2 ~ /^ublkd/ } ours && $1 == "voluntary_ctxt_switches:" { n += $2 } END { print n }' \
			/proc/"$server"/task/*/status
	}
	for ((i = 0; i < 4; i++)); do
		n=$(switches)
		pass_time 1500
		((n = $(switches) - n, n > 2 * (queues + 1))) || break
	done
	((i < 4)) || fail "an idle server was awake $n times"
	expect_status 1 grep ': error: ' limits.log
	stop_server
	nothing_is_left
done

# ---- a server goes while requests wait ----

definition 2 WriteBandwidth=64K >limits.conf
rm limits.log
serve limits
fio --name=verify --filename="$dev" --rw=randwrite --bs=16k --direct=1 --ioengine=io_uring --iodepth=32 --size=4M \
	--verify=crc32c --verify_fatal=1 --verify_state_save=0 >fio.log 2>&1 </dev/null &
fio=$!
at_exit end_quietly $fio
# all_wait: for their time, and not for what lies behind
all_wait() {
	read -r reads writes <"/sys/block/${dev#/dev/}/inflight"
	((reads + writes == 32)) && [[ $(count limits in_flight) == 0 ]]
}
seq=$(cat "/sys/block/${dev#/dev/}/diskseq")
wait_until 30 all_wait
kill -USR2 "$server"
end_server 0
cat limits.log
rm limits.log
serve limits
wait_until 30 all_wait
kill_server
rm limits.log
serve limits
wait_until 30 all_wait
limit 2
wait_until 60 is_gone $fio || fail "fio hangs: $(<fio.log)"
wait $fio || fail "fio: $(<fio.log)"
[[ $(cat "/sys/block/${dev#/dev/}/diskseq") == "$seq" && $(count limits write.errors) == 0 ]]
# told to stop, it keeps nobody waiting either
limit 2 WriteBandwidth=64K
head -c 1M /dev/urandom >want
dd if=want of="$dev" bs=64K oflag=direct status=none &
writer=$!
waits() { read -r reads writes <"/sys/block/${dev#/dev/}/inflight" && ((writes == 1)) && [[ $(count limits in_flight) == 0 ]]; }
wait_until 30 waits
limit 2
wait $writer
stop_server
cmp -n $((1 << 20)) want limits.img
nothing_is_left
