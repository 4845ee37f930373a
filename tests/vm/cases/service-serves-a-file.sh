# guest: full
# timeout: 120
# The main job: a definition, systemctl start, a file system on /dev/ublk/NAME, systemctl stop. What
# start and stop promise is there when they return: nothing here waits for it.
. "$VM_LIB/common.sh"
cat >"$WORK/main.conf" <<-E
	[Device]
	Size=96M
	LogicalBlockSize=4096
	[Backend]
	Type=file
	Path=$WORK/main.img
	Create=sparse
	[Queues]
	Count=2
	Depth=16
E
install_definition "$WORK/main.conf"
at_exit systemctl stop ublk@main.service
show() { systemctl show -P "$1" ublk@main.service; }

systemd-analyze verify --man=no ublk@main.service >"$WORK/verify" 2>&1 || fail "$(<"$WORK/verify")"
[[ ! -s $WORK/verify ]] || fail "$(<"$WORK/verify")"

systemctl start ublk@main.service
node=$(realpath -e /dev/ublk/main)
[[ -b $node && $(realpath -e /dev/disk/by-id/ublk-main) == "$node" ]]
[[ $(blockdev --getsize64 /dev/ublk/main) == $((96 << 20)) ]]
plane=copy
! has_feature AUTO_BUF_REG || plane='zero copy'
! has_feature BATCH_IO || plane+=', batched'
[[ $(show StatusText) == "$node: 96M, file $WORK/main.img, 2 x 16, $plane" ]] || fail "$(show StatusText)"
systemctl status --no-pager ublk@main.service >"$WORK/status"
grep -F "Status: \"$node: 96M, file $WORK/main.img, 2 x 16, $plane\"" "$WORK/status"
[[ -s /run/ublkd/main/state && -s /run/ublkd/udev/${node#/dev/} ]]
# made by the server for nobody else, and as large as asked for without taking the space
[[ $(stat -c %a:%U:%s "$WORK/main.img") == 600:root:$((96 << 20)) ]]
(($(stat -c %b "$WORK/main.img") * 512 < 1 << 20))

mkfs.ext4 -q /dev/ublk/main
uuid=$(blkid -p -s UUID -o value "$node")
udevadm settle
[[ $(realpath -e "/dev/disk/by-uuid/$uuid") == "$node" ]]
mkdir "$WORK/mnt"
mount /dev/ublk/main "$WORK/mnt"
at_exit umount -q "$WORK/mnt"
head -c 5000001 /dev/urandom >"$WORK/want"
cp "$WORK/want" "$WORK/mnt/file"
umount "$WORK/mnt"
ublkctl status main --json | jq -e '.counters.total | .write.bytes > 5000000 and .flush.count > 0 and
	([.[] | objects | .errors] | add) == 0'

gone() {
	local what
	for what in "$node" /dev/ublk/main /dev/disk/by-id/ublk-main "/dev/disk/by-uuid/$uuid" \
		/run/ublkd/main "/run/ublkd/udev/${node#/dev/}" "/sys/block/${node#/dev/}" \
		"/sys/class/ublk-char/ublkc${node#/dev/ublkb}"; do
		[[ ! -e $what && ! -L $what ]] || fail "$what is still there"
	done
	[[ $(show ActiveState) == inactive && $(show Result) == success ]]
}
systemctl stop ublk@main.service
udevadm settle # the links are udev's, and nothing tells when it is done with them
gone

# what was written is in the file, where anybody else finds it too
mkdir "$WORK/loop"
mount -o loop,ro "$WORK/main.img" "$WORK/loop"
at_exit umount -q "$WORK/loop"
cmp "$WORK/want" "$WORK/loop/file"
umount "$WORK/loop"

# and it is there after a start, and after a restart, which is another server
systemctl start ublk@main.service
mount /dev/ublk/main "$WORK/mnt"
cmp "$WORK/want" "$WORK/mnt/file"
umount "$WORK/mnt"
pid=$(show MainPID)
systemctl restart ublk@main.service
[[ $(show MainPID) != "$pid" && $(show NRestarts) == 0 ]]
mount -o ro /dev/ublk/main "$WORK/mnt"
cmp "$WORK/want" "$WORK/mnt/file"
umount "$WORK/mnt"
e2fsck -fn /dev/ublk/main
systemctl stop ublk@main.service
udevadm settle
gone
