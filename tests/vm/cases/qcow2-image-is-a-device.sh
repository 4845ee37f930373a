# guest: full
# extra: nbd
# rows-short: 1
# timeout: 180
# An image of a machine, by qemu-nbd, which the service starts and ends: its partitions appear, what is written stays, also
# through a restart, the death of qemu-nbd, and that of the server of the device.
. "$VM_LIB/common.sh"
. "$VM_LIB/nbd.sh"
image=$WORK/images/vm.qcow2
mkdir "$WORK/images" "$WORK/mnt" "$WORK/files"
install_qemu_nbd

truncate -s 64M "$WORK/raw"
printf 'label: gpt\nstart=2048, size=8192\nstart=16384\n' | sfdisk -q "$WORK/raw"
cp /etc/os-release "$WORK/files"
mke2fs -q -t ext4 -E offset=$((16384 * 512)) -d "$WORK/files" "$WORK/raw" 48M
qemu qemu-img convert -f raw -O qcow2 "$WORK/raw" "$image"
rm "$WORK/raw"
printf '[Backend]\nType=nbd\nCommand=qemu-nbd -f qcow2 --shared=4 --persistent --cache=writethrough %s\n' "$image" >"$WORK/vm.conf"
install_definition "$WORK/vm.conf"
at_exit systemctl stop ublk@vm.service
systemctl daemon-reload
server() { pgrep -x qemu-nbd; }
has_server() { [[ $(pgrep -xc qemu-nbd) == 1 && $(server) != "$1" ]]; }
is_open_there() { find "/proc/$(server)/fd" -lname '*ublk*' | grep -q .; }

start=$SECONDS
systemctl start ublk@vm.service || fail "$(journalctl -q -b -o cat -u ublk@vm.service | tail -n 30)"
echo "started within $((SECONDS - start)) s"
! is_open_there || fail "qemu-nbd has $(ls -l "/proc/$(server)/fd")"
[[ $(blockdev --getsize64 /dev/ublk/vm) == $((64 << 20)) ]]
[[ $(find "/sys/block/$(basename "$(realpath /dev/ublk/vm)")/mq" -mindepth 1 -maxdepth 1 | wc -l) == 2 ]]
wait_until 30 test -b /dev/ublk/vm-part2
mount /dev/ublk/vm-part2 "$WORK/mnt"
cmp "$WORK/mnt/os-release" /etc/os-release
head -c 4M /dev/urandom >"$WORK/want"

# Written while its parts come and go.
pid=$(server)
cp "$WORK/want" "$WORK/mnt/restart"
systemctl restart ublk@vm.service
sync "$WORK/mnt/restart"
wait_until 20 has_server "$pid"
pid=$(server)
cp "$WORK/want" "$WORK/mnt/server"
kill -KILL "$pid"
sync "$WORK/mnt/server"
wait_until 20 has_server "$pid"
pid=$(server)
main=$(systemctl show -P MainPID ublk@vm.service)
cp "$WORK/want" "$WORK/mnt/main"
kill -KILL "$main"
sync "$WORK/mnt/main"
[[ $(systemctl show -P MainPID ublk@vm.service) != "$main" ]]
has_server "$pid" || fail "there is $(pgrep -ax qemu-nbd)"
echo 3 >/proc/sys/vm/drop_caches
for name in restart server main; do
	cmp "$WORK/want" "$WORK/mnt/$name"
done
umount "$WORK/mnt"
systemctl stop ublk@vm.service
! pgrep -ax qemu-nbd || fail 'it runs without its device'

# All of it is in the image.
qemu qemu-img check -q "$image"
qemu qemu-img convert -f qcow2 -O raw "$image" "$WORK/raw"
dd if="$WORK/raw" of="$WORK/fs" bs=1M skip=8 status=none
e2fsck -fn "$WORK/fs" >"$WORK/e2fsck" || fail "$(<"$WORK/e2fsck")"
debugfs -R "dump main $WORK/got" "$WORK/fs" 2>/dev/null
cmp "$WORK/want" "$WORK/got"
