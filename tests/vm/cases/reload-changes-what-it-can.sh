# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 180
# `systemctl reload` returns when it is done: size, limits and the properties of udev are as the definition says, under
# users who notice nothing. What cannot change in use is named, in STATUS= and in the journal; a definition with errors
# fails the reload and leaves the one in force. A device that is to stop can be reloaded, too.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
mkfs.ext4 -q -N 64 -E lazy_itable_init=0,nodiscard "$SCRATCH0"
mkdir fs mnt
mount "$SCRATCH0" fs
at_exit umount fs
grows=$(has_feature UPDATE_SIZE && echo 1 || echo 0)
can_grow() { ((grows)); }
show() { systemctl show -P "$1" "ublk@${2:-data}.service"; }
size() { blockdev --getsize64 "/dev/ublk/${1:-data}"; }
# set_key FILE KEY VALUE: VALUE may be empty, for no such line
set_key() {
	sed -i "/^$2=/d" "/etc/ublk/$1.conf"
	[[ -z $3 ]] || sed -i "/^\\[$4\\]/a $2=$3" "/etc/ublk/$1.conf"
}
mkdir -p /etc/ublk
define() {
	printf '[Device]\n[Backend]\n[Queues]\nCount=2\nDepth=8\n[Limits]\n[Udev]\n' >"/etc/ublk/$1.conf"
	at_exit rm -f "/etc/ublk/$1.conf"
}
# answer NAME TEXT: this is what came of the last reload, for everybody who asks
answer() {
	[[ $(tail -n 1 "/run/ublkd/$1/reload") == "$2" ]] || fail "the reload of $1 says: $(tail -n 1 "/run/ublkd/$1/reload")"
	[[ $1 == data ]] || return 0
	wait_until 20 status_ends "$1" "; reload: $2" || fail "$(show StatusText "$1")"
	[[ $(show ActiveState "$1") == active ]]
}
status_ends() { [[ $(show StatusText "$1") == *"$2" ]]; }
# reload NAME TEXT: nothing is to be waited for when it returns
reload() {
	systemctl reload "ublk@$1.service" || fail "$(journalctl -q -b -o cat UBLKD_DEVICE="$1" | tail -n 20)"
	answer "$1" "$2"
}
says() { journalctl --sync && journalctl -q -b -o cat UBLKD_DEVICE="${2:-data}" | grep -qxF -e "$1"; }

# ---- size: each kind of what can lie behind ----

truncate -s 16M fs/admin.img fs/loop.img
loop=$(losetup --show -f fs/loop.img)
at_exit losetup -d "$loop"
define sparse
printf 'Type=file\nPath=%s\nCreate=sparse\n' "$PWD/fs/sparse.img" >lines
sed -i '/^\[Backend\]/r lines' /etc/ublk/sparse.conf
define prealloc
sed 's/sparse/prealloc/' lines >lines2
sed -i '/^\[Backend\]/r lines2' /etc/ublk/prealloc.conf
define mem
set_key mem Type memory Backend
define admin
printf 'Type=file\nPath=%s\n' "$PWD/fs/admin.img" >lines
sed -i '/^\[Backend\]/r lines' /etc/ublk/admin.conf
define below
printf 'Type=file\nPath=%s\n' "$loop" >lines
sed -i '/^\[Backend\]/r lines' /etc/ublk/below.conf
for name in sparse prealloc mem; do
	set_key "$name" Size 16M Device
done
all=(sparse prealloc mem admin below)
at_exit systemctl stop "${all[@]/#/ublk@}"
systemctl daemon-reload
systemctl start "${all[@]/#/ublk@}"
for name in "${all[@]}"; do
	[[ $(size "$name") == $((16 << 20)) ]]
	echo "last of $name" | dd of="/dev/ublk/$name" bs=4096 seek=4095 oflag=direct conv=sync status=none
done
for name in sparse prealloc mem; do
	set_key "$name" Size 24M Device
done
truncate -s 24M fs/admin.img fs/loop.img
losetup -c "$loop"
systemctl reload "${all[@]/#/ublk@}"
for name in "${all[@]}"; do
	case $name in
	admin | below) what='its size' ;;
	*) what='Size=' ;;
	esac
	if can_grow; then
		answer "$name" "changed: $what"
		says "/dev/ublkb$(realpath "/dev/ublk/$name" | tr -dc 0-9) has grown from 16M to 24M" "$name"
	else
		answer "$name" "nothing to change; after a stop and a start: $what"
	fi
done
if can_grow; then
	for name in "${all[@]}"; do
		[[ $(size "$name") == $((24 << 20)) ]] || fail "$name has $(size "$name")"
		dd if="/dev/ublk/$name" bs=4096 skip=4095 count=1 iflag=direct status=none | grep -a "^last of $name" >last
		echo "end of $name" | dd of="/dev/ublk/$name" bs=4096 seek=6143 oflag=direct conv=sync status=none
		dd if="/dev/ublk/$name" bs=4096 skip=6143 count=1 iflag=direct status=none | grep -a "^end of $name" >last
	done
	(($(stat -c '%b * %B' fs/prealloc.img) >= 24 << 20))
	grep -qa 'end of sparse' fs/sparse.img
	# what cannot grow stays as it was
	set_key prealloc Size 64G Device
	expect_status 1 systemctl reload ublk@prealloc.service 2>/dev/null
	answer prealloc 'the definition could not be taken, see the journal; the old one stays in force'
	[[ $(size prealloc) == $((24 << 20)) && $(stat -c %s fs/prealloc.img) == $((24 << 20)) ]]
else
	for name in "${all[@]}"; do
		[[ $(size "$name") == $((16 << 20)) ]]
	done
	[[ $(stat -c %s fs/sparse.img) == $((16 << 20)) ]]
fi
set_key mem Size 8M Device
reload mem 'nothing to change; after a stop and a start: Size='
systemctl stop "${all[@]/#/ublk@}"

# ---- under a load ----

define data
printf 'Type=file\nPath=%s\nCreate=sparse\n' "$PWD/fs/data.img" >lines
sed -i '/^\[Backend\]/r lines' /etc/ublk/data.conf
set_key data Size 320M Device
systemctl daemon-reload
node=$(start_name data)
if can_grow; then
	mkfs.xfs -q "$node"
	mount "$node" mnt
	at_exit umount -q -l mnt
	fio_begin "$PWD/mnt/fio"
	wait_until 60 test -s mnt/fio
	set_key data Size 512M Device
	reload data 'changed: Size='
	[[ $(size) == $((512 << 20)) ]]
	before=$(stat -f -c %b mnt)
	xfs_growfs mnt >/dev/null
	(($(stat -f -c %b mnt) > before + (180 << 20) / 4096))
else
	fio_begin "$node"
fi

# several at once; of two names that differ only what can change is taken
set_key data ReadIOPS 5000 Limits
set_key data Group cdrom Udev
set_key data Mode 0640 Udev
set_key data Serial s-1 Device
set_key data Depth 16 Queues
set_key data Count 1 Queues
reload data 'changed: Serial=, ReadIOPS=, Group=, [Udev] Mode=; after a stop and a start: Count=, Depth='
says 'reloaded, changed: Serial=, ReadIOPS=, Group=, [Udev] Mode=; after a stop and a start: Count=, Depth='
udev_has() {
	[[ $(stat -c '%G %a' "$node") == "$1" && $(udevadm info -q property --property=ID_SERIAL --value -n "$node") == "$2" ]]
}
wait_until 30 udev_has 'cdrom 640' s-1 || fail "$(stat "$node") $(udevadm info -n "$node")"
grep -qx ReadIOPS=5000 /run/ublkd/data/definition
grep -qx Depth=8 /run/ublkd/data/definition
set_key data ReadIOPS 0 Limits
set_key data Group '' Udev
set_key data Mode '' Udev
set_key data Serial s-2 Device
set_key data Depth 8 Queues
set_key data Count 2 Queues
reload data 'changed: Serial=, ReadIOPS=, Group=, [Udev] Mode='
wait_until 30 udev_has 'disk 660' s-2 || fail "$(stat "$node") $(udevadm info -n "$node")"
reload data 'nothing to change'

# errors: the file's, then in ublkd.conf
kept=$(cat /run/ublkd/data/state /run/ublkd/data/definition)
sed -i 's/^Depth=8/Depth=many/' /etc/ublk/data.conf
set_key data Serial s-3 Device
for ((i = 0; i < 2; i++)); do
	expect_status 1 systemctl reload ublk@data.service 2>/dev/null
	answer data 'the files have errors, see the journal or run "ublkctl check data"; the old definition stays in force'
done
journalctl --sync
journalctl -q -b -o cat UBLKD_DEVICE=data | grep -E '^/etc/ublk/data.conf:[0-9]+: \[Queues\] Depth=: '
[[ $(cat /run/ublkd/data/state /run/ublkd/data/definition) == "$kept" ]]
udev_has 'disk 660' s-2
sed -i 's/^Depth=many/Depth=8/' /etc/ublk/data.conf
reload data 'changed: Serial='
fio_end
! kernel_log | grep -E "(I/O error|Buffer I/O).*${node#/dev/}" || fail "the kernel has seen errors"
[[ $(show NRestarts) == 0 ]]

# ---- while it stops ----

exec 9<"$node"
systemctl stop --no-block ublk@data.service
is_told() { [[ $(show StatusText) == 'Stopping: waiting for the device to be free: '* ]]; }
wait_until 30 is_told || fail "$(show StatusText)"
set_key data Serial s-4 Device
ublkd reload data
[[ $(tail -n 1 /run/ublkd/data/reload) == 'changed: Serial=' ]]
wait_until 30 is_told || fail "$(show StatusText)"
[[ $(show ActiveState) == deactivating ]]
exec 9<&-
! mountpoint -q mnt || umount mnt
has_ended() { [[ $(show ActiveState) == inactive ]]; }
wait_until 60 has_ended
[[ $(show Result) == success && ! -e /run/ublkd/data ]]
expect_status 1 systemctl reload ublk@data.service 2>/dev/null
