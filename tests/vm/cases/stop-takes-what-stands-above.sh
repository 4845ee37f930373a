# guest: full
# rows-short: 2
# timeout: 180
# ublkctl stop takes down mounts, swap, a loop device and a ublk device with an image there, top first; it refuses
# without a terminal or --yes, shows the plan with --dry-run, and stops nothing that a process holds.
. "$VM_LIB/common.sh"
at_exit systemctl reset-failed "tmp-vm*.mount"
write_definition() {
	printf '[Device]\nSize=%s\n[Backend]\nType=file\nPath=%s\nCreate=sparse\n' "$2" "$3" >"$WORK/$1.conf"
	install_definition "$WORK/$1.conf"
}
write_definition below 128M "$WORK/below.img"
write_definition above 16M "$WORK/mnt/above.img"
at_exit systemctl stop ublk@below.service
systemctl start ublk@below.service
mkfs.ext4 -q /dev/ublk/below
mkdir mnt top
mount /dev/ublk/below mnt
at_exit umount -q -l "$WORK/mnt"
at_exit systemctl stop ublk@above.service
systemctl start ublk@above.service
mkfs.ext4 -q /dev/ublk/above
mount /dev/ublk/above top
at_exit umount -q -l "$WORK/top"
mount -t tmpfs none mnt/lost+found
at_exit umount -q -l "$WORK/mnt/lost+found"
fallocate -l 8M mnt/swap
chmod 600 mnt/swap
mkswap -q mnt/swap
swapon mnt/swap
at_exit swapoff "$WORK/mnt/swap"

everything_is_there() {
	mountpoint -q mnt && mountpoint -q top && mountpoint -q mnt/lost+found &&
		grep -q "^$WORK/mnt/swap " /proc/swaps && systemctl -q is-active ublk@above.service ublk@below.service
}
expect_status 64 ublkctl stop below </dev/null 2>refusal
[[ $(wc -l <refusal) == 1 ]] || fail "$(<refusal)"
ublkctl stop --dry-run below </dev/null >plan
cat plan
sed 's/ (.*//' plan >steps
diff steps - <<-END
	unmount $WORK/mnt/lost+found
	unmount $WORK/top
	stop ublk device above
	swap off $WORK/mnt/swap
	unmount $WORK/mnt
	stop ublk device below
	END
everything_is_there || fail "a dry run or a refusal has stopped something"

# somebody works in a directory: one line says what could not be done, and what lies below goes on
exec 3<top
expect_status 1 ublkctl stop --yes below </dev/null >out 2>err
[[ $(wc -l <err) == 1 && $(<err) == *"cannot unmount $WORK/top: "* ]] || fail "$(<err)"
systemctl -q is-active ublk@above.service ublk@below.service
exec 3<&-

# a process has the node itself open
exec 3</dev/ublk/below
expect_status 75 ublkctl stop --yes below </dev/null 2>err
grep -F 'open in ' err || fail "$(<err)"
systemctl -q is-active ublk@below.service
exec 3<&-

ublkctl stop --yes below above </dev/null
! mountpoint -q mnt || fail "still mounted"
for name in above below; do
	[[ $(systemctl show -P ActiveState ublk@$name.service) == inactive && ! -e /dev/ublk/$name ]]
done
ublkctl stop --yes below </dev/null | grep 'does not run'
expect_status 1 ublkctl stop --yes nothing
