# guest: mini
# timeout: 120
# timeout-long: 1200
# A device over a file: as large as it should be, all zeros at first, and each block written to it lies at the same
# offset of the file, and nowhere else. A byte that changes behind the server's back shows that the comparison
# would notice.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
size=$((32 << 20))
n=16
((VM_LONG == 0)) || n=300
head -c 8M /dev/urandom >data

# put_random OFFSET BYTES: from somewhere in the data, to the device and to the copy that we keep
put_random() {
	local from
	from=$(random $(((8 << 20) - $2)))
	dd if=data iflag=skip_bytes skip="$from" of=want bs="$2" count=1 oflag=seek_bytes seek="$1" conv=notrunc status=none
	dd if=data iflag=skip_bytes skip="$from" of="$dev" bs="$2" count=1 oflag=direct,seek_bytes seek="$1" status=none
}

try() {
	local block=$1 direct=$2 count bytes at len written=0
	cat >probe.conf <<-X
		[Device]
		Size=$size
		LogicalBlockSize=$block
		[Backend]
		Type=file
		Path=$WORK/fs/probe.img
		Create=sparse
		DirectIO=$direct
		[Queues]
		MaxIO=1M
	X
	serve probe
	[[ $(blockdev --getsize64 "$dev") == "$size" ]]
	[[ $(blockdev --getss "$dev") == "$block" ]]
	[[ $(blockdev --getro "$dev") == 0 ]]
	rm -f want
	truncate -s "$size" want
	same want "$dev" probe
	[[ $(allocated fs/probe.img) == 0 ]]

	count=$(count probe write.count)
	bytes=$(count probe write.bytes)
	put_random 0 "$block"
	put_random $((size - block)) "$block"
	written=$((2 * block))
	RANDOM=$((block + ${#direct}))
	for ((i = 0; i < n; i++)); do
		# Half of them a block or some, the others up to 1 MiB, less a page: a request that starts within a physical
		# block has to end with one (get_max_io_size()), so what is larger may come as two.
		((i % 2)) && len=$((($(random 8) + 1) * block)) || len=$((($(random $((((1 << 20) - 4096) / block))) + 1) * block))
		at=$(($(random $(((size - len) / block + 1))) * block))
		put_random "$at" "$len"
		written=$((written + len))
	done
	# each of them one request
	[[ $(($(count probe write.count) - count)) == $((n + 2)) ]]
	[[ $(($(count probe write.bytes) - bytes)) == "$written" ]]
	cmp want fs/probe.img
	same want "$dev" probe

	# one bit of one byte
	at=$(random "$size")
	dd if=want bs=1 skip="$at" count=1 status=none >byte
	printf '%b' "$(printf '\\x%02x' $((16#$(od -An -tx1 byte | tr -d ' ') ^ 16)))" |
		dd of=fs/probe.img bs=1 seek="$at" conv=notrunc status=none
	forget "$dev"
	cmp -l want "$dev" >differ && fail "a change of the file at $at goes unseen"
	[[ $(awk '{ print $1 }' differ) == $((at + 1)) ]]
	dd if=byte of=fs/probe.img bs=1 seek="$at" conv=notrunc status=none

	stop_and_look "$dev"
	cmp want fs/probe.img
	rm fs/probe.img
}

try 512 yes
try 4096 no
if ((VM_LONG)); then
	try 512 no
	try 4096 yes
fi
