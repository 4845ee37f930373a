# guest: mini
# rows-short: 1
# timeout: 60
# A device that is read-only, because its definition says so or because the file cannot be written, refuses every
# change in the kernel already; it has no write cache; what is on it can be mounted and read.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
mkdir mnt
modprobe loop
mkfs.ext4 -q -F fs/ro.img 16M
mount -o loop fs/ro.img mnt
echo kept >mnt/file
umount mnt
sum=$(sha256sum fs/ro.img)
age=$(stat -c %Y.%Z fs/ro.img)

# refused COMMAND...: for what reason it says
refused() { fails_with "$@"; }

look() {
	local n
	serve ro
	[[ $(blockdev --getro "$dev") == 1 ]]
	[[ $(queue_attr "$dev" write_cache) == 'write through' ]]
	[[ $(queue_attr "$dev" fua) == 0 ]]
	[[ $(queue_attr "$dev" discard_max_bytes) == 0 ]]
	[[ $(queue_attr "$dev" write_zeroes_max_bytes) == 0 ]]
	[[ $(ublkctl status ro --json | jq -c '[.limits | .read_only, .write_cache, .fua]') == '[true,false,false]' ]]

	# dd says the number of records behind its error
	for how in oflag=direct conv=fsync; do
		! dd if=/dev/zero of="$dev" bs=4096 count=1 "$how" >output 2>&1 || fail "a write succeeded"
		grep -x "dd: error writing '$dev': Operation not permitted" output
	done
	refused 'BLKDISCARD: .* ioctl failed: Operation not supported' blkdiscard -f "$dev"
	refused 'BLKZEROOUT: .* ioctl failed: Operation not permitted' blkdiscard -f -z "$dev"
	mount -o ro "$dev" mnt
	n=$(count ro read.count)
	[[ $(<mnt/file) == kept ]]
	refused 'Read-only file system' touch mnt/new
	umount mnt
	# asked to mount it for writing, mount(8) tries again without
	mount "$dev" mnt 2>output
	grep -F 'source write-protected, mounted read-only' output
	[[ $(findmnt -no OPTIONS mnt) == ro,* ]]
	umount mnt
	((n > 0))
	[[ $(ublkctl status ro --json | jq -c '[.counters.total | .write.count, .flush.count, .discard.count, .write_zeroes.count]') == '[0,0,0,0]' ]]
	stop_and_look "$dev"
	[[ $(sha256sum fs/ro.img) == "$sum" ]]
	[[ $(stat -c %Y.%Z fs/ro.img) == "$1" ]]
}
notice="ro: notice: $WORK/fs/ro.img cannot be written (Read-only file system), so the device is read-only too"

define() { printf '[Device]\n%s\n[Backend]\nType=file\nPath=%s\n' "$1" "$WORK/fs/ro.img" >ro.conf; }
define ReadOnly=yes
look "$age"
! grep notice ro.log || fail "what was asked for is worth no word"

define ''
chmod 0444 fs/ro.img
look "$(stat -c %Y.%Z fs/ro.img)"
grep -xF "$notice" ro.log
chmod 0644 fs/ro.img

mount -o remount,ro fs
look "$(stat -c %Y.%Z fs/ro.img)"
grep -xF "$notice" ro.log
mount -o remount,rw fs

# a read-only block device below
loop=$(losetup --find --show --read-only fs/ro.img)
at_exit losetup -d "$loop"
printf '[Backend]\nType=file\nPath=%s\n' "$loop" >ro.conf
look "$(stat -c %Y.%Z fs/ro.img)"
grep -xE "ro: notice: $loop cannot be written \(.*\), so the device is read-only too" ro.log
losetup -d "$loop"

# and for writing again: the comparisons above would have noticed
define ''
serve ro
[[ $(blockdev --getro "$dev") == 0 ]]
put "$dev" 100 z oflag=direct
stop_and_look "$dev"
[[ $(sha256sum fs/ro.img) != "$sum" ]]
