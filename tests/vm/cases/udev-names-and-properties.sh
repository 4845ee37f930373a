# guest: full
# rows-short: 3
# timeout: 120
# udev gives a device and its partitions their names, owner, mode and properties, finds the file
# systems on them, and takes all of it back at the end. The same with a udev that does not know
# ublk devices (row 3).
. "$VM_LIB/common.sh"
cat >"$WORK/names.conf" <<-E
	[Device]
	Size=64M
	Serial=serial-0001
	[Backend]
	Type=memory
	[Udev]
	Owner=nobody
	Group=ublk
	Mode=0640
E
cat >"$WORK/unwatched.conf" <<-E
	[Device]
	Size=64M
	[Backend]
	Type=memory
	[Udev]
	Watch=no
E
getent group ublk || systemd-sysusers
install_definition "$WORK/names.conf"
install_definition "$WORK/unwatched.conf"
at_exit systemctl stop ublk@names.service ublk@unwatched.service

# no settling: started means that udev is done
systemctl start ublk@names.service
node=$(realpath -e /dev/ublk/names)
[[ $node == /dev/ublkb* ]]
[[ $(realpath -e /dev/disk/by-id/ublk-names) == "$node" ]]
[[ $(stat -c %U:%G:%a "$node") == nobody:ublk:640 ]]
udevadm info --query=property "$node" | grep -x ID_SERIAL=serial-0001
udevadm info --query=property "$node" | grep -x UBLK_TYPE=memory
systemctl is-active dev-ublk-names.device

# watched: the end of a write brings a new look at what is there
mkfs.ext4 -q -L ublklabel /dev/ublk/names
wait_until 30 test -e /dev/disk/by-label/ublklabel
uuid=$(blkid -s UUID -o value "$node")
[[ $(realpath -e "/dev/disk/by-uuid/$uuid") == "$node" ]]
wipefs -qa "$node"
wait_until 30 test ! -e /dev/disk/by-label/ublklabel

printf 'label: gpt\nsize=16M, name=ublkpart\n' | sfdisk -q /dev/ublk/names
wait_until 30 test -e /dev/ublk/names-part1
udevadm settle
[[ $(realpath -e /dev/ublk/names-part1) == "${node}p1" ]]
[[ $(realpath -e /dev/disk/by-id/ublk-names-part1) == "${node}p1" ]]
[[ $(realpath -e /dev/disk/by-partlabel/ublkpart) == "${node}p1" ]]
[[ $(stat -c %U:%G:%a "${node}p1") == nobody:ublk:640 ]]

systemctl start ublk@unwatched.service
unwatched=$(realpath -e /dev/ublk/unwatched)
is_watched() { [[ -n $(find /run/udev/watch -name "b$(lsblk -dno MAJ:MIN "$1" | tr -d ' ')") ]]; }
is_watched "$node"
! is_watched "$unwatched" || fail "$unwatched is watched in spite of Watch=no"

systemctl stop ublk@names.service ublk@unwatched.service
udevadm settle
for name in "$node" /dev/ublk /dev/disk/by-partlabel/ublkpart; do
	[[ ! -e $name ]] || fail "$name is still there"
done
compgen -G '/dev/disk/by-id/ublk-*' && fail "links are left"
[[ -z $(find /run/ublkd -mindepth 1 ! -path /run/ublkd/udev) ]]
