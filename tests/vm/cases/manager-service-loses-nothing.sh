# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 500
# timeout-long: 1500
# ublkd.service, the manager, under load on all of its devices: killed, restarted with the same and with a replaced
# binary, reloaded, and hanging until systemd's watchdog ends it. Users of the devices see pauses and no error; memory
# devices keep their contents, since systemd keeps their memfds; a reload takes and adds what the files say.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/manage.sh"
. "$VM_LIB/service.sh"
rounds=$((VM_LONG ? 5 : 1))
unit=ublkd.service
mkfs.ext4 -q -N 64 "$SCRATCH0"
mkdir fs mnt mem
mount "$SCRATCH0" fs
at_exit umount fs
at_exit remove_definitions
define data file 128M "Path=$WORK/fs/data.img" Create=sparse
define raw file 32M "Path=$WORK/fs/raw.img" Create=sparse
define old file 16M "Path=$WORK/fs/old.img" Create=sparse
define mem memory 32M
define gone memory 16M
without_start_limit $unit
printf '[Service]\nWatchdogSec=10s\n' >"/run/systemd/system/$unit.d/60-test.conf"
systemctl daemon-reload
at_exit systemctl stop $unit
systemctl start $unit

# all_live N: so many devices, all of them with this process of the service
all_live() {
	[[ $(ublkctl list --json | jq --argjson pid "$(unit_has $unit MainPID)" \
		'[.[] | select(.state == "live" and .server_pid == $pid)] | length') == "$1" ]]
}
all_live 5 || fail "$(ublkctl list)"
for name in data raw old mem gone; do
	[[ -b /dev/ublk/$name ]]
done
[[ $(unit_has $unit NFileDescriptorStore) == 2 ]]
ids=$(ls /sys/class/ublk-char)

mkfs.ext4 -q /dev/ublk/data
mount /dev/ublk/data mnt
at_exit umount -q -l "$WORK/mnt"
id=$(mount_id "$WORK/mnt")
mkfs.ext4 -q /dev/ublk/mem
mount /dev/ublk/mem mem
at_exit umount -q -l "$WORK/mem"
head -c 12M /dev/urandom >mem/a
sync -f mem/a
(cd mem && sha256sum a) >sums

fio_begin "$WORK/mnt/fio"
torture_begin "$(realpath /dev/ublk/raw)" --workers=2 --depth=8 --max=64K
truncate -s 1M mnt/pauses
pauses_begin "$WORK/mnt/pauses"
check() {
	wait_until 60 all_live 5 || fail "$(ublkctl list; journalctl -q -b -o cat -u $unit | tail -n 30)"
	[[ $(ls /sys/class/ublk-char) == "$ids" && $(mount_id "$WORK/mnt") == "$id" ]]
	[[ $(unit_has $unit NFileDescriptorStore) == 2 ]]
	echo 3 >/proc/sys/vm/drop_caches
	(cd mem && sha256sum -c --quiet ../sums)
}
n_kills=0
for ((i = 0; i < rounds; i++)); do
	pid=$(unit_has $unit MainPID)
	pass_time $((RANDOM % 500))
	event "kill $pid"
	kill -KILL "$pid"
	wait_until 90 is_back $unit "$pid"
	n_kills=$((n_kills + 1))
	[[ $(unit_has $unit NRestarts) == "$n_kills" ]]
	check
done
# a start by hand counts anew
for ((i = 0; i < rounds; i++)); do
	pass_time $((RANDOM % 500))
	restart_unit $unit
	check
	replace_binary $unit
	check
done

# All of it stands still.
pid=$(unit_has $unit MainPID)
event 'the process hangs'
kill -STOP "$pid"
wait_until 120 is_back $unit "$pid" || fail "$(systemctl status $unit)"
check
journalctl --sync
[[ $(journalctl -q -b -o cat -u $unit | grep -c 'Watchdog timeout') == 1 ]]

# One reload: two go, two come, and the others do not notice.
pid=$(unit_has $unit MainPID)
kept=$(stat -c '%i %y' /run/ublkd/{data,raw,mem}/state)
rm /etc/ublk/{old,gone}.conf
define new file 16M "Path=$WORK/fs/new.img" Create=sparse
define fresh memory 16M
systemctl reload $unit
all_live 5 || fail "$(ublkctl list)"
[[ ! -e /dev/ublk/old && ! -e /dev/ublk/gone && -b /dev/ublk/new && -b /dev/ublk/fresh ]]
[[ $(unit_has $unit NFileDescriptorStore) == 2 && $(unit_has $unit MainPID) == "$pid" ]]
[[ $(stat -c '%i %y' /run/ublkd/{data,raw,mem}/state) == "$kept" ]]
# for longer than a moment
pass_time 1000
[[ $(unit_has $unit StatusText) == '5 devices: 5 running; reload: 2 added, 0 changed, 2 removed, 0 with errors' ]] ||
	fail "$(unit_has $unit StatusText)"
# of what one has an error only that fails
echo 'Colour=green' >>/etc/ublk/new.conf
expect_status 1 systemctl reload $unit 2>/dev/null
all_live 5 || fail "$(ublkctl list)"
define new file 16M "Path=$WORK/fs/new.img" Create=sparse
systemctl reload $unit
# what came by the reload is handed over as the others are
ids=$(ls /sys/class/ublk-char)
dd if=/dev/urandom of=want bs=64K count=1 status=none
dd if=want of=/dev/ublk/fresh bs=64K seek=3 oflag=direct status=none
restart_unit $unit
check
dd if=/dev/ublk/fresh bs=64K skip=3 count=1 iflag=direct status=none | cmp - want

pass_time 300
torture_end
fio_end
pauses_end 'a manager killed or restarted under load' $((3 * rounds + 2))
wait_until 20 nobody_waits
umount mnt mem
fsck.ext4 -fn /dev/ublk/data
! kernel_log | grep -E "(I/O error|Buffer I/O)|EXT4-fs (error|warning)" || fail "the kernel has seen errors"
journalctl --sync
for name in data raw mem; do
	(($(journalctl -q -b -o cat UBLKD_DEVICE=$name | grep -c '^took over ublk device') == 3 * rounds + 2)) ||
		fail "$name: $(journalctl -q -b -o cat UBLKD_DEVICE=$name)"
done
systemctl stop $unit
[[ $(unit_has $unit Result) == success && $(unit_has $unit NFileDescriptorStore) == 0 ]]
left=$(find /run/ublkd -mindepth 1 ! -path /run/ublkd/udev; ls /sys/class/ublk-char)
[[ -z $left ]] || fail "left behind: $left"
