# guest: mini
# rows: 2
# timeout: 60
# The disk of an NBD server, which is reached over vsock, becomes larger while a file system on the device is written to: the
# device grows at a reload, as the server says, and without an error; a server that came back larger is used from then on.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/nbd.sh"
scratch_fs
modprobe vsock_loopback
truncate -s 16M fs/nbd.img
begin() {
	nbdkit -f --vsock -p 10809 file fs/nbd.img >>nbdkit.log 2>&1 9<&- &
	nbd=$!
	echo "$nbd" >nbdkit.pid
}
at_exit nbd_end
begin
printf '[Backend]\nType=nbd\nUri=nbd+vsock://1/\nTimeout=1min\n' >nbd.conf
serve nbd
has_size() { [[ $(blockdev --getsize64 "$dev") == "$1" ]]; }
has_size $((16 << 20))
mkfs.ext4 -q "$dev"
mkdir mnt
mount "$dev" mnt
at_exit umount mnt
head -c 4M /dev/urandom >fs/want
cp fs/want mnt/before
sync mnt/before

truncate -s 32M fs/nbd.img
ublkd reload nbd
wait_until 10 has_size $((32 << 20))
resize2fs "$dev" 2>resize.log || fail "$(<resize.log)"
cp fs/want mnt/after
for n in {1..4}; do
	cp fs/want "mnt/more$n" # reaches what is new
done
sync mnt/more4

# It is restarted for it, and refused until a reload.
nbd_kill
truncate -s 48M fs/nbd.img
begin
wait_until 20 grep -q 'has another size' nbd.log
ublkd reload nbd
wait_until 10 has_size $((48 << 20))
resize2fs "$dev" 2>resize.log || fail "$(<resize.log)"
umount mnt
mount "$dev" mnt
for f in before after more1 more2 more3 more4; do
	cmp fs/want mnt/$f
done
umount mnt
fsck.ext4 -fn "$dev" >fsck.log || fail "$(<fsck.log)"
! kernel_log | grep -E "(I/O|Buffer I/O) error.*${dev#/dev/}" || fail "the kernel has seen errors"
stop_and_look "$dev"
