# guest: mini
# rows-short: 1
# timeout: 60
# A memory device takes memory as it is written, and discard and write-zeroes of up to 4 GiB give it back to the system,
# unless the user asked to keep it.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
mb=$((1 << 20))
gb=$((1 << 30))
head -c 4M /dev/urandom >data
cat >memory.conf <<-X
	[Device]
	Size=6G
	[Backend]
	Type=memory
	[Queues]
	Count=2
X
serve memory
# the memfd, whose pages are those of the device
pages=$(find "/proc/$server/fd" -lname '*memfd:ublk-memory*')
[[ -e $pages ]]
# the kernel counts what a process has mapped in steps of some pages
resident() { awk '$1 == "RssShmem:" { print $2 * 1024 }' "/proc/$server/status"; }
near() { (($1 - $2 < 2 * mb && $2 - $1 < 2 * mb)); }
empty=$(resident)
# take: four times 4 MiB
take() {
	local at
	for at in 0 $gb $((5 * gb - 4 * mb)) $((6 * gb - 4 * mb)); do
		dd if=data of="$dev" bs=1M oflag=direct,seek_bytes seek="$at" status=none
	done
	[[ $(allocated "$pages") == $((16 * mb)) ]]
	near "$(resident)" $((empty + 16 * mb)) || fail "$(resident) bytes instead of 16 MiB more than $empty"
}
# left BYTES
left() {
	[[ $(allocated "$pages") == "$1" ]] || fail "$(allocated "$pages") bytes instead of $1"
	near "$(resident)" $((empty + $1)) || fail "$(resident) bytes instead of $1 more than $empty"
}
is_data() { dd if="$dev" bs=1M count=4 iflag=direct,skip_bytes skip="$1" status=none | cmp - data; }
is_zeros() { dd if="$dev" bs=1M count=4 iflag=direct,skip_bytes skip="$1" status=none | cmp -n $((4 * mb)) - /dev/zero; }

# a hole is read as zeros and stays one
is_zeros $((3 * gb))
[[ $(allocated "$pages") == 0 ]]

take
before=$(count memory discard.bytes)
blkdiscard -o $gb -l $((4 * gb)) "$dev"
[[ $(($(count memory discard.bytes) - before)) == $((4 * gb)) ]]
left $((8 * mb))
is_data 0
is_zeros $gb
is_zeros $((5 * gb - 4 * mb))
is_data $((6 * gb - 4 * mb))

take
before=$(count memory write_zeroes.bytes)
fallocate -p -o $gb -l $((4 * gb)) "$dev"
[[ $(($(count memory write_zeroes.bytes) - before)) == $((4 * gb)) ]]
left $((8 * mb))
is_data 0
is_zeros $gb
is_zeros $((5 * gb - 4 * mb))
is_data $((6 * gb - 4 * mb))

# BLKZEROOUT says NOUNMAP: zeros, in the pages that there are; holes stay holes
take
blkdiscard -z -o $gb -l $((4 * gb)) "$dev"
left $((16 * mb))
is_data 0
is_zeros $gb
is_zeros $((5 * gb - 4 * mb))
is_data $((6 * gb - 4 * mb))

# within pages: only whole ones go back
take
cp data want
dd if=/dev/zero of=want bs=512 seek=1 count=20 conv=notrunc status=none
blkdiscard -o 512 -l 10240 "$dev"
left $((16 * mb - 4096))
dd if="$dev" bs=1M count=4 iflag=direct status=none | cmp - want

blkdiscard "$dev"
left 0
is_zeros 0
[[ $(count memory discard.errors) == 0 && $(count memory write_zeroes.errors) == 0 ]]
stop_and_look "$dev"
