# guest: mini
# rows-short: 1
# timeout: 90
# Over a block device: discard and write-zeroes of up to 4 GiB are passed on to it, what it cannot do is not promised,
# and zeros are zeros all the same. A loop device shows in its file what it was told.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
mb=$((1 << 20))
gb=$((1 << 30))
head -c 1M /dev/urandom >data
define() { printf '[Backend]\nType=file\nPath=%s\n[Queues]\nCount=1\n' "$1" >block.conf; }
spots() {
	local at
	for at; do
		dd if=data of="$dev" bs=1M count=1 oflag=direct,seek_bytes seek="$at" status=none
	done
}
# spot_is FILE PLACE...: what is read with direct I/O
spot_is() {
	local want=$1 at
	shift
	for at; do
		dd if="$dev" bs=1M count=1 iflag=direct,skip_bytes skip="$at" status=none | cmp -n $mb - "$want" ||
			fail "at $at: not $want"
	done
}
# grows OPERATION BYTES COMMAND...
grows() {
	local op=$1 bytes=$2 before
	shift 2
	before=$(count block "$op.bytes")
	"$@"
	[[ $(($(count block "$op.bytes") - before)) == "$bytes" ]] || fail "not $bytes bytes of $op from: $*"
	[[ $(count block "$op.errors") == 0 ]]
}

truncate -s 6G fs/loop.img
modprobe loop
loop=$(losetup --find --show --direct-io=on fs/loop.img)
at_exit losetup -d "$loop"
define "$loop"
serve block
inside=("$gb" $((2 * gb - mb)) $((5 * gb - mb)))
outside=(0 $((gb - mb)) $((5 * gb)) $((6 * gb - mb)))
all=$(((${#inside[@]} + ${#outside[@]}) * mb))
spots "${inside[@]}" "${outside[@]}"
takes fs/loop.img "$all"
grows discard $((4 * gb)) blkdiscard -o $gb -l $((4 * gb)) "$dev"
takes fs/loop.img $((${#outside[@]} * mb))
spot_is /dev/zero "${inside[@]}"
spot_is data "${outside[@]}"
spots "${inside[@]}"
grows write_zeroes $((4 * gb)) fallocate -p -o $gb -l $((4 * gb)) "$dev"
takes fs/loop.img $((${#outside[@]} * mb))
spot_is /dev/zero "${inside[@]}"
spot_is data "${outside[@]}"
# NOUNMAP
spots "${inside[@]}"
grows write_zeroes $((200 * mb)) blkdiscard -z -o $((gb - 100 * mb)) -l $((200 * mb)) "$dev"
spot_is /dev/zero $gb $((gb - mb))
spot_is data 0 $((2 * gb - mb)) $((5 * gb))
takes fs/loop.img $((all - 2 * mb + 200 * mb))
stop_and_look "$dev"
rm block.log

# a disk: all of its 4 GiB at once
define "$SCRATCH1"
serve block
[[ $(blockdev --getsize64 "$dev") == $((4 * gb)) ]]
spots 0 $((2 * gb)) $((4 * gb - mb))
spot_is data 0 $((2 * gb)) $((4 * gb - mb))
written() { awk '{ print $12 }' "/sys/block/${SCRATCH1#/dev/}/stat"; }
before=$(written)
grows discard $((4 * gb)) blkdiscard "$dev"
(($(written) > before)) || fail "$SCRATCH1 was not told"
spot_is /dev/zero 0 $((2 * gb)) $((4 * gb - mb))
spots 0 $((2 * gb)) $((4 * gb - mb))
grows write_zeroes $((4 * gb - 2 * mb)) fallocate -p -o $mb -l $((4 * gb - 2 * mb)) "$dev"
spot_is data 0 $((4 * gb - mb))
spot_is /dev/zero $mb $((2 * gb))
grows write_zeroes $((16 * mb)) blkdiscard -z -o $((4 * gb - 16 * mb)) -l $((16 * mb)) "$dev"
spot_is data 0
spot_is /dev/zero $((4 * gb - mb))
blkdiscard "$dev"
stop_and_look "$dev"

# one that cannot discard
modprobe null_blk nr_devices=1 memory_backed=1 gb=1 bs=512
at_exit modprobe -r null_blk
wait_until 10 test -b /dev/nullb0
[[ $(queue_attr /dev/nullb0 discard_max_bytes) == 0 ]]
define /dev/nullb0
serve block
[[ $(queue_attr "$dev" discard_max_bytes) == 0 ]]
fails_with 'BLKDISCARD: .* ioctl failed: Operation not supported' blkdiscard "$dev"
[[ $(count block discard.count) == 0 ]]
spots 0 $mb $((2 * mb)) $((3 * mb))
grows write_zeroes $mb blkdiscard -z -o $mb -l $mb "$dev"
grows write_zeroes $mb fallocate -p -o $((2 * mb)) -l $mb "$dev"
spot_is data 0 $((3 * mb))
spot_is /dev/zero $mb $((2 * mb))
stop_and_look "$dev"
