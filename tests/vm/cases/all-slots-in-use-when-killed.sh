# guest: mini
# rows: 1
# timeout: 120
# Every request that the device can have is with the server when it is killed: held by what lies behind it, or the whole
# process is stopped. Linux 6.12 notices a death by the slots that wait for a request, and where there is none only after
# 30 s. Users are served again within some seconds all the same, for one slot more is made, which is never given out.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
definition() {
	cat <<-E
		[Device]
		Size=32M
		[Queues]
		Count=$1
		Depth=8
		[Backend]
		Type=file
		Path=$WORK/full.img
		Create=sparse
		[Fault]
		HangWhile=$WORK/hang
	E
}
# in_kernel N: so many requests of users are under way; none of the others finds a slot. For wait_until
in_kernel() {
	read -r reads writes <"/sys/block/${dev#/dev/}/inflight"
	((reads + writes == $1))
}
in_server() { [[ $(count full in_flight) == "$1" ]]; }
load() {
	fio --name=load --filename="$dev" --rw=randwrite --direct=1 --ioengine=io_uring --iodepth=64 --bs=4k --size=2M \
		--numjobs=2 --offset_increment=2M --cpus_allowed=0-1 --cpus_allowed_policy=split --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 >fio.log 2>&1 </dev/null &
	fio=$!
	at_exit end_quietly "$fio"
}
# kill_and_look QUEUES HOW
kill_and_look() {
	local start=${EPOCHREALTIME/./} ms seq
	seq=$(</sys/block/"${dev#/dev/}"/diskseq)
	kill -KILL "$server"
	end_server 137
	rm -f full.log hang
	serve full
	timeout 60 dd if="$dev" of=/dev/null bs=4096 count=1 iflag=direct status=none
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	echo "figure: $1 x 8 slots, $2: served again after $ms ms"
	# far from the 30 s of the kernel, also where the machine has much else to do
	((ms < 15000)) || fail "nobody was served for $ms ms"
	[[ $(</sys/block/"${dev#/dev/}"/diskseq) == "$seq" && $(queue_attr "$dev" nr_requests) == 8 ]]
	wait_until 60 is_gone "$fio" || fail "fio hangs: $(<fio.log)"
	wait "$fio" || fail "fio: $(<fio.log)"
	grep -q "took over ublk device" full.log
	expect_status 1 grep error: full.log
}

for queues in 1 2; do
	definition "$queues" >full.conf
	rm -f full.log
	serve full
	[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == "$queues" ]]
	[[ $(queue_attr "$dev" nr_requests) == 8 ]]

	touch hang
	load
	wait_until 30 in_server $((8 * queues))
	in_kernel $((8 * queues))
	kill_and_look "$queues" 'held by the backend'

	# Stopped by a signal, the process has what the kernel has given it and what it was going to be given.
	kill -STOP "$server"
	load
	wait_until 30 in_kernel $((8 * queues))
	kill_and_look "$queues" 'stopped'
	stop_and_look "$dev"
done
