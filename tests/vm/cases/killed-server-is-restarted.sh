# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 180
# SIGKILL of the server of a device that is not recoverable. If nobody uses the device, systemd brings it back with what was on it. If a
# file system is mounted, it gets errors, since the device is lost; the service comes back with a new
# one, and with the old mount gone all works again. Nothing hangs.
. "$VM_LIB/common.sh"
. "$VM_LIB/service.sh"
cat >"$WORK/killed.conf" <<-E
	[Device]
	Size=64M
	[Backend]
	Type=file
	Path=$WORK/killed.img
	Create=sparse
	[Queues]
	Depth=16
	[Recovery]
	Mode=none
E
node=$(start_device "$WORK/killed.conf")
show() { systemctl show -P "$1" ublk@killed.service; }
head -c 65536 /dev/urandom >"$WORK/want"
dd if="$WORK/want" of="$node" bs=64K seek=3 oflag=direct status=none

restarts=0
kill_server() {
	local pid
	pid=$(show MainPID)
	((restarts += 1))
	kill -KILL "$pid"
	wait_until 60 is_back ublk@killed.service "$pid" "$restarts"
}

kill_server
node=$(realpath -e /dev/ublk/killed)
[[ $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" ]]
[[ $(ls /run/ublkd/udev) == "${node#/dev/}" ]]
dd if="$node" bs=64K skip=3 count=1 iflag=direct status=none | cmp - "$WORK/want"

mkfs.ext4 -q "$node"
mkdir "$WORK/mnt"
mount "$node" "$WORK/mnt"
at_exit umount -q -l "$WORK/mnt"
cp "$WORK/want" "$WORK/mnt/file"
sync -f "$WORK/mnt/file"
kill_server
# The old node has a user, so its number is taken until that is gone.
new=$(realpath -e /dev/ublk/killed)
[[ $new != "$node" ]]
[[ $(realpath -e /dev/disk/by-id/ublk-killed) == "$new" ]]
timeout 30 dd if=/dev/urandom of="$WORK/mnt/file2" bs=64K count=1 conv=fsync 2>"$WORK/error" &&
	fail "a write to a device without a server has succeeded"
cat "$WORK/error"
grep -E 'Input/output error|Read-only file system' "$WORK/error"
# the properties of a number would become those of whoever gets it next
[[ $(ls /run/ublkd/udev) == "${new#/dev/}" ]] || fail "left in /run/ublkd/udev: $(ls /run/ublkd/udev)"
umount "$WORK/mnt"
only_new() { [[ $(ls /sys/class/ublk-char) == "ublkc${new#/dev/ublkb}" ]]; }
wait_until 30 only_new

e2fsck -fy "$new" || [[ $? == 1 ]]
mount "$new" "$WORK/mnt"
cmp "$WORK/want" "$WORK/mnt/file"
echo again | dd of="$WORK/mnt/file2" conv=fsync status=none
umount "$WORK/mnt"
journalctl --sync
journalctl -b -o cat UBLKD_DEVICE=killed | grep 'which a server that died has left'
stop_name killed
[[ ! -e /run/ublkd/killed && -z $(ls /run/ublkd/udev) ]]
