# guest: full
# extra: debian
# rows-short: 1
# rows: 1 2
# timeout: 240
# memory: 3072
# Debian on a disk of format qcow2, which qemu-nbd serves to us: the disk appears with its partition, and the system in it
# boots from there, twice; each boot finds what the one before wrote. In the second one the device's server is killed
# up to four times.
. "$VM_LIB/common.sh"
. "$VM_LIB/nbd.sh"
image=$WORK/images/vm.qcow2
mkdir "$WORK/images"
install_qemu_nbd

# what is written goes here, and not into the image that Debian was put into
qemu qemu-img create -q -f qcow2 -b "$VM_EXTRA/debian.qcow2" -F qcow2 "$image"
printf '[Backend]\nType=nbd\nCommand=qemu-nbd -f qcow2 --shared=4 --persistent --cache=writethrough %s\n' "$image" >"$WORK/vm.conf"
install_definition "$WORK/vm.conf"
at_exit systemctl stop ublk@vm.service
systemctl daemon-reload
systemctl start ublk@vm.service || fail "$(journalctl -q -b -o cat -u ublk@vm.service | tail -n 30)"
wait_until 30 test -b /dev/ublk/vm-part1

# boot: the system as a container, which ends when it powers itself off
boot() {
	systemd-run --quiet --wait --collect --unit=debian -p Delegate=yes -p KillMode=mixed \
		-p Environment="LD_LIBRARY_PATH=$VM_EXTRA/lib/x86_64-linux-gnu:$VM_EXTRA/lib/x86_64-linux-gnu/systemd" \
		"$VM_EXTRA/bin/systemd-nspawn" --quiet --boot --image=/dev/ublk/vm --machine="$1" --hostname="$1" --register=no \
		--keep-unit --console=pipe --link-journal=no --resolv-conf=off --timezone=off ||
		fail "$(journalctl -q -b -o cat -u debian.service | tail -n 40)"
}
server() { systemctl show -P MainPID ublk@vm.service; }
boot one

( boot two ) &
second=$! kills=0
while ! is_gone $second; do
	pid=$(server)
	# no more often than the service's own limit lets it start
	((pid == 0 || kills == 4)) || { kill -KILL "$pid" && kills=$((kills + 1)); }
	sleep 2
done
wait $second
((kills >= 1)) || fail "it was killed $kills times"
! journalctl -q -b -k -o cat | grep -E 'I/O error|EXT4-fs (error|warning)' || fail 'the kernel has seen errors'

# All of it is in the image, as qemu-img reads it.
systemctl stop ublk@vm.service
qemu qemu-img check -q "$image"
qemu qemu-img convert -f qcow2 -O raw "$image" "$WORK/raw"
dd if="$WORK/raw" of="$WORK/fs" bs=1M skip=1 count=636 conv=sparse status=none
e2fsck -fn "$WORK/fs" >"$WORK/e2fsck" 2>&1 || fail "$(<"$WORK/e2fsck")"
boots=$(debugfs -R 'cat /var/lib/boots' "$WORK/fs" 2>/dev/null)
[[ $boots == $'boot of one\nboot of two' ]] || fail "boots: $boots"
