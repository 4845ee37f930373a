# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 400
# timeout-long: 2400
# `systemctl restart` under a file system in use, with the same binary and with a replaced one: the mount stays, nobody
# sees an error, and the pause is about what it takes to start a process.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
full=$((VM_LONG && VM_ROW == 2)) # a quarter of an hour
restarts=$((full ? 50 : VM_LONG ? 10 : 5))
mkfs.ext4 -q -N 64 "$SCRATCH0"
mkdir fs mnt
mount "$SCRATCH0" fs
at_exit umount fs
for name in data plain; do
	cat >$name.conf <<-X
		[Device]
		Size=192M
		[Queues]
		Count=2
		Depth=16
		[Backend]
		Type=file
		Path=$WORK/fs/$name.img
		Create=sparse
	X
	without_start_limit "ublk@$name.service"
done
node=$(start_device data.conf)
mkfs.ext4 -q "$node"
mount "$node" mnt
at_exit umount -q -l mnt
id=$(mount_id "$PWD/mnt")
[[ -n $id ]]
# restart, replace: under the mount, which stays
restart() {
	restart_unit ublk@data.service
	check
}
replace() {
	replace_binary ublk@data.service
	check
}
check() {
	[[ $(mount_id "$PWD/mnt") == "$id" && $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" ]]
}
ms_of() {
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

# The figures, without a load that takes the processors from the new server.
truncate -s 1M mnt/pauses
pauses_begin "$PWD/mnt/pauses"
for ((i = 0; i < (full ? 20 : 3); i++)); do
	restart
done
pass_time 200
pauses_end 'a restart' "$i"
install_definition plain.conf
for ((i = 0; i < (full ? 9 : 3); i++)); do
	ms_of ublkd --version >>version.ms
	ms_of systemctl start ublk@plain.service >>start.ms
	systemctl stop ublk@plain.service
	ms_of systemctl restart ublk@data.service >>restart.ms
	n_restarts=$((n_restarts + 1))
done
echo "figure: median of $i: ublkd --version $(median <version.ms) ms, systemctl start $(median <start.ms) ms," \
	"systemctl restart $(median <restart.ms) ms"

truncate -s 24M mnt/torture
torture_begin "$PWD/mnt/torture" --workers=1 --depth=8 --max=64K
fio_begin "$PWD/mnt/fio"
pauses_begin "$PWD/mnt/pauses"
for ((i = 0; i < restarts; i++)); do
	pass_time $((RANDOM % 500))
	restart
	pass_time $((RANDOM % 500))
	replace
done
pass_time 500
torture_end
fio_end
pauses_end 'a restart under load' $((2 * restarts))
wait_until 20 nobody_waits
check
umount mnt
fsck.ext4 -fn "$node"
! kernel_log | grep -E "(I/O error|Buffer I/O).*${node#/dev/}|EXT4-fs (error|warning)" || fail "the kernel has seen errors"
journalctl --sync
(($(journalctl -q -b -o cat _SYSTEMD_UNIT=ublk@data.service | grep -c 'took over ublk device') == n_restarts))
stop_name data
[[ ! -e /run/ublkd/data && -z $(ls /run/ublkd/udev) && -z $(ls /sys/class/ublk-char) ]]
