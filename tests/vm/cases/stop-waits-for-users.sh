# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 180
# timeout-long: 300
# systemctl stop while the device is in use: the device works on, longer than TimeoutStopSec= alone
# would let it, systemd and the journal say who has it, and it ends when the last user is gone.
. "$VM_LIB/common.sh"
cat >"$WORK/held.conf" <<-E
	[Device]
	Size=96M
	[Backend]
	Type=file
	Path=$WORK/held.img
	Create=sparse
	[Queues]
	Depth=16
E
install_definition "$WORK/held.conf"
# The server asks for 30 s more, again and again; beyond these it is the later requests that count.
hold=15
((VM_LONG == 0)) || hold=45
mkdir -p /run/systemd/system/ublk@held.service.d
printf '[Service]\nTimeoutStopSec=5s\n' >/run/systemd/system/ublk@held.service.d/timeout.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/ublk@held.service.d
systemctl daemon-reload
show() { systemctl show -P "$1" ublk@held.service; }
waits_for() { [[ $(show StatusText) == "Stopping: waiting for the device to be free: $1" ]]; }
expect_wait() { wait_until 60 waits_for "$1" || fail "$(show StatusText)"; }
has_ended() { [[ $(show ActiveState) == inactive ]]; }
expect_stopping() {
	[[ $(show ActiveState) == deactivating ]] || fail "the service is $(show ActiveState)"
	systemctl list-jobs --no-legend ublk@held.service | grep -w stop
}

at_exit systemctl stop ublk@held.service
systemctl start ublk@held.service
node=$(realpath -e /dev/ublk/held)
printf 'label: gpt\nsize=32M\nsize=16M\nsize=16M\n' | sfdisk -q "$node"
udevadm settle
mkfs.ext4 -q "${node}p1"
mkswap "${node}p2" >/dev/null
udevadm settle
mkdir "$WORK/a mount"

# every way to hold it at once
mount "${node}p1" "$WORK/a mount"
at_exit umount -q "$WORK/a mount"
swapon "${node}p2"
at_exit swapoff --all
dmsetup create vm-held --table "0 $(blockdev --getsz "${node}p3") linear ${node}p3 0"
at_exit dmsetup remove vm-held
dm=$(dmsetup info -c --noheadings -o blkdevname vm-held)
# with a name that must not become a second line of the journal
program=$WORK/$'vm\nopener'
ln -s "$(type -P sleep)" "$program"
"$program" infinity 9<"$node" &
opener=$!
at_exit kill "$opener"
is_opener() { [[ $(<"/proc/$opener/comm") == $'vm\nopener' ]]; }
wait_until 20 is_opener

systemctl stop --no-block ublk@held.service
stopped_at=$SECONDS
mounted="mounted on $WORK/a mount"
swap="swap on ${node}p2"
held="held by $dm (vm-held)"
opened="open in vm (pid $opener)"
expect_wait "$held; $mounted; $swap; $opened"
expect_stopping

# and meanwhile it works, also what was not in use before
echo works | dd of="$WORK/a mount/file" conv=fsync status=none
echo 3 >/proc/sys/vm/drop_caches
[[ $(<"$WORK/a mount/file") == works ]]
dd if=/dev/urandom of="$WORK/block" bs=64K count=1 status=none
dd if="$WORK/block" of=/dev/mapper/vm-held bs=64K oflag=direct status=none
dd if=/dev/mapper/vm-held bs=64K count=1 iflag=direct status=none | cmp - "$WORK/block"
systemctl status --no-pager ublk@held.service >"$WORK/status" || true
grep -F "deactivating (stop-sigterm)" "$WORK/status"
grep -F "Status: \"Stopping: waiting for the device to be free: $held; $mounted" "$WORK/status"

# a second signal changes nothing
systemctl kill --kill-whom=main --signal=TERM ublk@held.service

# they go one by one
kill "$opener"
wait "$opener" || true
expect_wait "$held; $mounted; $swap"
dmsetup remove vm-held
expect_wait "$mounted; $swap"
swapoff "${node}p2"
expect_wait "$mounted"
long_enough() { ((SECONDS >= stopped_at + hold)); }
wait_until $((hold + 10)) long_enough
expect_stopping
echo works still | dd of="$WORK/a mount/file" conv=fsync status=none
umount "$WORK/a mount"
wait_until 60 has_ended
[[ $(show Result) == success && $(show ExecMainStatus) == 0 && $(show NRestarts) == 0 ]]
[[ ! -e $node && ! -e /run/ublkd/held ]]

# each change was told once
journalctl --sync
journalctl -b -o cat UBLKD_DEVICE=held PRIORITY=5 >"$WORK/log"
cat "$WORK/log"
for text in "$held; $mounted; $swap; $opened" "$held; $mounted; $swap" "$mounted; $swap" "$mounted"; do
	[[ $(grep -cxF "$node is $text; serving it until that ends" "$WORK/log") == 1 ]] ||
		fail "not told once: $text"
done
