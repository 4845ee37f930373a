# guest: mini
# rows-short: 2
# timeout: 120
# Discard and write-zeroes over a file, up to 4 GiB in one go: zeros, and space given back, unless the user asked to
# keep it; to the byte, also where a range ends within a block of the file system; and on a file system that cannot
# zero a range in place.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
mb=$((1 << 20))
gb=$((1 << 30))
head -c 1M /dev/urandom >data

# spots PLACE...: a MiB of data at each of these bytes
spots() {
	local at
	for at; do
		dd if=data of="$dev" bs=1M count=1 oflag=direct,seek_bytes seek="$at" status=none
	done
}
# spot_is data|zeros PLACE...: as the device tells, and the file below
spot_is() {
	local want=$1 at from
	shift
	[[ $want == data ]] || want=/dev/zero
	for at; do
		for from in "$dev" "$image"; do
			dd if="$from" bs=1M count=1 iflag=skip_bytes skip="$at" status=none | cmp -n $mb - "$want" ||
				fail "$from at $at: not ${want##*/}"
		done
	done
}
# grows OPERATION BYTES COMMAND...: the server gets so many bytes of this operation from it
grows() {
	local op=$1 bytes=$2 before
	shift 2
	before=$(count holes "$op.bytes")
	"$@"
	[[ $(($(count holes "$op.bytes") - before)) == "$bytes" ]] || fail "not $bytes bytes of $op from: $*"
	[[ $(count holes "$op.errors") == 0 ]]
}
define() {
	image=$1
	cat >holes.conf <<-X
		[Device]
		Size=$2
		[Backend]
		Type=file
		Path=$1
		Create=sparse
		DirectIO=auto
		[Queues]
		Count=1
	X
}

define "$WORK/fs/holes.img" 6G
serve holes
(($(queue_attr "$dev" discard_max_bytes) >= 4 * gb - mb))
(($(queue_attr "$dev" write_zeroes_max_bytes) >= 4 * gb - mb))
[[ $(queue_attr "$dev" discard_granularity) == 4096 ]]

# discard of 4 GiB, two requests at most
inside=("$gb" $((2 * gb - mb)) $((2 * gb)) $((4 * gb)) $((5 * gb - mb)))
outside=(0 $((gb - mb)) $((5 * gb)) $((6 * gb - mb)))
all=$(((${#inside[@]} + ${#outside[@]}) * mb))
spots "${inside[@]}" "${outside[@]}"
takes "$image" "$all"
before=$(count holes discard.count)
grows discard $((4 * gb)) blkdiscard -o $gb -l $((4 * gb)) "$dev"
(($(count holes discard.count) - before <= 2))
takes "$image" $((${#outside[@]} * mb))
spot_is zeros "${inside[@]}"
spot_is data "${outside[@]}"

# write-zeroes that may unmap: the same
spots "${inside[@]}"
takes "$image" "$all"
before=$(count holes write_zeroes.count)
grows write_zeroes $((4 * gb)) fallocate -p -o $gb -l $((4 * gb)) "$dev"
(($(count holes write_zeroes.count) - before <= 2))
takes "$image" $((${#outside[@]} * mb))
spot_is zeros "${inside[@]}"
spot_is data "${outside[@]}"

# write-zeroes that may not: the space stays, and what was a hole has some now (BLKZEROOUT, and fallocate(2) of a
# block device, say NOUNMAP)
spots "${inside[@]}"
grows write_zeroes $((300 * mb)) blkdiscard -z -o $((gb - 100 * mb)) -l $((300 * mb)) "$dev"
spot_is zeros $gb $((gb - mb))
spot_is data 0 $((2 * gb))
takes "$image" $((all - 2 * mb + 300 * mb))
grows write_zeroes $((2 * mb)) fallocate -z -n -o $((2 * gb - mb)) -l $((2 * mb)) "$dev"
spot_is zeros $((2 * gb - mb)) $((2 * gb))
takes "$image" $((all - 2 * mb + 300 * mb))

# ends within blocks of the file system, and within one block
for how in 'blkdiscard' 'blkdiscard -z' 'fallocate -p' 'fallocate -z -n'; do
	read -ra command <<<"$how"
	op=write_zeroes
	[[ $how != blkdiscard ]] || op=discard
	for range in '512 20480' '4608 3584' '8704 1024' '100352 524800'; do
		read -r at len <<<"$range"
		dd if=data of="$dev" bs=1M oflag=direct status=none
		cp data want
		dd if=/dev/zero of=want bs=512 seek=$((at / 512)) count=$((len / 512)) conv=notrunc status=none
		grows $op "$len" "${command[@]}" -o "$at" -l "$len" "$dev"
		cmp -n $mb want "$image" || fail "$how at $at, $len bytes"
		forget "$dev"
		cmp -n $mb want "$dev" || fail "$how at $at, $len bytes"
	done
done
stop_and_look "$dev"
rm "$image"

# tmpfs has holes and no way to zero a range in place: the server writes the zeros
! fallocate -z -l 4096 -o 0 probe 2>/dev/null || fail "tmpfs can zero ranges now: this needs another file system"
define "$WORK/holes.img" 96M
serve holes
spots 0 $((8 * mb)) $((16 * mb)) $((17 * mb))
before=$(allocated "$image")
grows write_zeroes $((8 * mb)) blkdiscard -z -o $((8 * mb)) -l $((8 * mb)) "$dev"
takes "$image" $((before + 7 * mb))
spot_is zeros $((8 * mb))
spot_is data 0 $((16 * mb)) $((17 * mb))
before=$(allocated "$image")
grows write_zeroes $((9 * mb)) fallocate -p -o $((8 * mb)) -l $((9 * mb)) "$dev"
takes "$image" $((before - 9 * mb))
spot_is zeros $((8 * mb)) $((16 * mb))
spot_is data 0 $((17 * mb))
before=$(allocated "$image")
grows discard $mb blkdiscard -o $((17 * mb)) -l $mb "$dev"
takes "$image" $((before - mb))
spot_is zeros $((17 * mb))
spot_is data 0
stop_and_look "$dev"
