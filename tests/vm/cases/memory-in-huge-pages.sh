# guest: mini
# rows-short: 2
# timeout: 90
# HugePages=yes: once the kernel was told to, memory comes in huge pages, data are what was written, and discard gives all
# of it back. Until then the server says what is to be done, and goes on with small ones.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
enabled=/sys/kernel/mm/transparent_hugepage/shmem_enabled
[[ -e $enabled ]] || skip "this kernel has no huge pages for memfds"
cat >memory.conf <<-X
	[Device]
	Size=256M
	[Backend]
	Type=memory
	HugePages=yes
X
# huge: KiB of the server that are mapped by huge pages
huge() { awk '$1 == "ShmemPmdMapped:" { print $2 }' "/proc/$server/smaps_rollup"; }
pages() { find "/proc/$server/fd" -lname '*memfd:ublk-memory*'; }
fill() {
	dd if=/dev/urandom of=data bs=1M count=64 status=none
	dd if=data of="$dev" bs=4k oflag=direct status=none
	dd if="$dev" bs=1M count=64 iflag=direct status=none | cmp - data
}

echo never >$enabled
serve memory
grep -q "HugePages=yes has no effect until \"advise\" is written to $enabled" memory.log || fail "$(<memory.log)"
fill
[[ $(huge) == 0 ]]
stop_and_look "$dev"

echo advise >$enabled
serve memory
! grep HugePages memory.log || fail "it says so without a reason"
fill
[[ $(huge) -ge 65536 ]] || fail "$(huge) KiB instead of 65536"
# the first of 4K takes 2M
dd if=data of="$dev" bs=4k count=1 seek=$((200 << 8)) oflag=direct status=none
[[ $(allocated "$(pages)") == $((66 << 20)) ]] || fail "$(allocated "$(pages)")"
# in and across huge pages, as a model has it
fio --name=x --filename="$dev" --direct=1 --ioengine=io_uring --rw=randwrite --bsrange=4k-64k --size=64M --iodepth=16 \
	--verify=crc32c --verify_fatal=1 --verify_state_save=0 >fio.log 2>&1 </dev/null || fail "$(<fio.log)"
blkdiscard -o $((3 << 20)) -l $((4 << 20)) "$dev"
dd if="$dev" bs=1M skip=3 count=4 iflag=direct status=none | cmp -n $((4 << 20)) - /dev/zero
blkdiscard "$dev"
[[ $(allocated "$(pages)") == 0 ]] || fail "$(allocated "$(pages)") bytes are left"
dd if="$dev" bs=1M count=64 iflag=direct status=none | cmp -n $((64 << 20)) - /dev/zero
stop_and_look "$dev"
