# guest: mini
# rows-short: 2
# timeout: 120
# Depth= is how many requests the kernel hands out at once, no more and no fewer, and MaxIO= how large one of them is.
# The server is stopped (SIGSTOP) while fio fills the queue: that way it is full, whatever the machine is busy with.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs

# in_flight DEV: handed out by the kernel and not answered
in_flight() { awk '{ print $1 + $2 }' "/sys/block/${1#/dev/}/inflight"; }
is_full() { (($(in_flight "$1") >= $2)); }

for depth in 1 128 4096; do
	# more than fit at a time
	n=$((depth * 5 / 4 + 100))
	cat >depth.conf <<-X
		[Device]
		Size=64M
		[Backend]
		Type=file
		Path=$WORK/fs/depth.img
		Create=sparse
		[Queues]
		Count=1
		Depth=$depth
		MaxIO=64K
	X
	serve depth
	[[ $(<"/sys/block/${dev#/dev/}/queue/nr_requests") == "$depth" ]]
	kill -STOP "$server"
	at_exit kill -CONT "$server"
	# random, so that none is merged with its neighbour
	fio --name=fill --filename="$dev" --rw=randwrite --direct=1 --ioengine=libaio --iodepth="$n" --bs=4k --size=64M \
		--io_size=$((n * 4096)) --verify=crc32c --verify_state_save=0 --output=fio.log &
	fio=$!
	wait_until 60 is_full "$dev" "$depth"
	[[ $(in_flight "$dev") == "$depth" ]]
	[[ $(count depth write.count) == 0 ]]
	kill -CONT "$server"
	wait "$fio" || fail "$(<fio.log)"
	[[ $(count depth write.count) == "$n" ]]
	[[ $(in_flight "$dev") == 0 ]]
	stop_and_look "$dev"
	rm fs/depth.img
done

head -c 2M /dev/urandom >data
for kb in 4 64 512 1024; do
	cat >size.conf <<-X
		[Device]
		Size=16M
		[Backend]
		Type=file
		Path=$WORK/fs/size.img
		Create=sparse
		[Queues]
		Count=1
		Depth=16
		MaxIO=${kb}K
	X
	serve size
	[[ $(queue_attr "$dev" max_hw_sectors_kb) == "$kb" ]]
	[[ $(queue_attr "$dev" max_sectors_kb) == "$kb" ]]
	[[ $(ublkctl status size --json | jq .max_io_bytes) == $((kb << 10)) ]]
	# two of 1 MiB, each in as many requests as it needs
	dd if=data of="$dev" bs=1M seek=3 oflag=direct status=none
	[[ $(count size write.count) == $((2048 / kb)) ]]
	[[ $(count size write.bytes) == $((2 << 20)) ]]
	before=$(count size read.count)
	dd if="$dev" of=got bs=1M skip=3 count=2 iflag=direct status=none
	[[ $(($(count size read.count) - before)) == $((2048 / kb)) ]]
	cmp data got
	cmp -i 0:$((3 << 20)) -n $((2 << 20)) data fs/size.img
	stop_and_look "$dev"
	rm fs/size.img
done
