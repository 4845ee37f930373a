# guest: mini
# rows-short: 1
# timeout: 150
# timeout-long: 3600
# fio with checksums: several jobs at once, sizes mixed, with and without the page cache above (direct) and below
# (DirectIO=), on memory and on a file. At first it has to notice a block that is wrong.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
size=4M
jobs=3
((VM_LONG == 0)) || size=16M

define() {
	cat >verify.conf <<-X
		[Device]
		Size=$1
		LogicalBlockSize=$2
		[Queues]
		Count=2
		Depth=32
		[Backend]
		Type=$3
	X
	[[ $3 == memory ]] || printf '%s\n' "Path=$WORK/fs/verify.img" Create=sparse "DirectIO=$4" >>verify.conf
}

# verify DIRECT ENGINE BLOCK RW
verify() {
	local before bytes
	before=$(count verify write.bytes)
	fio --name=verify --filename="$dev" --rw="$4" --direct="$1" --ioengine="$2" --iodepth=16 --verify=crc32c \
		--bssplit="$3/40:4k/20:16k/20:64k/10:256k/10" --blockalign="$3" --numjobs="$jobs" --size="$size" \
		--offset_increment="$size" --fsync=64 --verify_fatal=1 --verify_state_save=0 --group_reporting \
		--output-format=json >fio.out 2>&1 || fail "$4 direct=$1 $2: $(<fio.out)"
	sed -n '/^{/,/^}/p' fio.out >fio.json # after what else it has to say
	# it did write all of it, and read all that it wrote
	jq -e --arg rw "$4" '.jobs[0] | .error == 0 and .write.io_bytes > 0 and .read.io_bytes >= .write.io_bytes' fio.json >/dev/null ||
		fail "fio has verified nothing: $(jq -c '.jobs[0] | .error, .write.io_bytes, .read.io_bytes' fio.json)"
	bytes=$(jq '.jobs[0].write.io_bytes' fio.json)
	((bytes >= jobs * ${size%M} << 19)) || fail "only $bytes bytes were written"
	blockdev --flushbufs "$dev"
	# through the page cache a block that is written twice may arrive once
	(($1 == 0)) || (($(count verify write.bytes) - before >= bytes)) || fail "not all has arrived"
}

device_bytes=$((jobs * ${size%M}))M

# a wrong byte behind the server's back
define 8M 512 file yes
serve verify
one=(--name=one --filename="$dev" --rw=write --direct=1 --bs=4k --size=8M --verify=crc32c --verify_state_save=0)
fio "${one[@]}" --do_verify=0 --output=fio.log
printf '\xff' | dd of=fs/verify.img bs=1 seek=$((1234 * 4096 + 2000)) conv=notrunc status=none
! fio "${one[@]}" --verify_only >fio.log 2>&1 || fail "fio takes a wrong byte for right"
grep "^crc32c: verify failed at file $dev offset $((1234 * 4096)), length 4096 " fio.log
fio "${one[@]}" --output=fio.log || fail "$(<fio.log)"
stop_and_look "$dev"
rm fs/verify.img

if ((VM_LONG)); then
	for block in 512 4096; do
		for backend in 'memory' 'file yes' 'file no'; do
			# shellcheck disable=SC2086
			define "$device_bytes" "$block" $backend
			serve verify
			for direct in 0 1; do
				for engine in libaio io_uring; do
					for rw in randwrite randrw write; do
						verify "$direct" "$engine" "$block" "$rw"
					done
				done
			done
			stop_and_look "$dev"
			rm -f fs/verify.img
		done
	done
	exit
fi
define "$device_bytes" 512 memory
serve verify
verify 1 libaio 512 randwrite
verify 0 io_uring 512 randwrite
stop_and_look "$dev"
define "$device_bytes" 512 file yes
serve verify
verify 1 io_uring 512 randwrite
verify 0 libaio 512 write
stop_and_look "$dev"
rm fs/verify.img
define "$device_bytes" 4096 file no
serve verify
verify 1 libaio 4096 randwrite
stop_and_look "$dev"
