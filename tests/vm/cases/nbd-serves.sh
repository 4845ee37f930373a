# guest: mini
# rows: 1 2
# rows-short: 2
# timeout: 120
# A device of an NBD server is what the server says: its size, its blocks, whether it can be written. Every block lands where
# it was written, in the server's image; flush, FUA, trim and zeroes arrive as what they are.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/nbd.sh"
scratch_fs
truncate -s 16M fs/nbd.img
nbd_serve --filter=log file fs/nbd.img logfile="$WORK/requests"
define_nbd nbd 2 16
serve nbd
[[ $(blockdev --getsize64 "$dev") == $((16 << 20)) ]]
[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == 2 ]]
[[ $(queue_attr "$dev" write_cache) == 'write back' && $(queue_attr "$dev" fua) == 1 ]]
has_request() { grep -qE "$1" "$WORK/requests" || fail "no $1 in $(tail -n 5 "$WORK/requests")"; }

head -c 16M /dev/urandom >fs/want
dd if=fs/want of="$dev" bs=256K oflag=direct status=none
cmp fs/want fs/nbd.img
same "$WORK/fs/want" "$dev" nbd
! grep -q fua=1 <(grep Write "$WORK/requests") || fail 'a write with FUA came that nobody sent'
dd if=fs/want of="$dev" bs=4K count=1 oflag=direct,dsync conv=notrunc status=none
has_request ' Write id=.* fua=1'
n=$(grep -c ' Flush ' "$WORK/requests" || true)
dd if=fs/want of="$dev" bs=4K count=1 conv=notrunc,fsync status=none
(($(grep -c ' Flush ' "$WORK/requests") > n))
before=$(allocated fs/nbd.img)
blkdiscard -o 4M -l 4M "$dev"
has_request ' Trim id=.* offset=0x400000 '
(($(allocated fs/nbd.img) <= before - (3 << 20)))
blkdiscard -z -o 8M -l 1M "$dev"
has_request ' Zero id=.* offset=0x800000 '
cmp -n $((1 << 20)) -i $((8 << 20)):0 fs/nbd.img /dev/zero
[[ $(metric nbd ublk_unreachable_queues) == 0 && $(metric nbd ublk_reconnects_total) == 0 ]]
stop_and_look "$dev"
nbd_kill

# One connection, one queue; and a server that can only be read.
nbd_serve -r --filter=multi-conn file fs/nbd.img multi-conn-mode=disable
serve nbd
[[ $(blockdev --getro "$dev") == 1 ]]
[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
cmp -n $((4 << 20)) fs/want "$dev"
stop_and_look "$dev"
nbd_kill

# What a server fails with is what the user of the device gets.
nbd_serve --filter=error file fs/nbd.img error-pwrite=ENOSPC error-pwrite-rate=100%
serve nbd
fails_with 'No space left on device' dd if=fs/want of="$dev" bs=4K count=1 oflag=direct status=none
stop_and_look "$dev"
