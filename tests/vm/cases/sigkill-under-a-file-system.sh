# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 400
# timeout-long: 2400
# SIGKILL of the service while a file system on it is busy with fsync: systemd starts it again, its users wait, all that
# was synced is there, and fsck finds nothing to do.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
full=$((VM_LONG && VM_ROW == 2)) # half an hour
kills=$((full ? 200 : VM_LONG ? 20 : 5))
mkfs.ext4 -q -N 64 "$SCRATCH0"
mkdir fs mnt
mount "$SCRATCH0" fs
at_exit umount fs
cat >killed.conf <<-X
	[Device]
	Size=192M
	[Queues]
	Count=2
	Depth=16
	[Backend]
	Type=file
	Path=$WORK/fs/killed.img
	Create=sparse
X
without_start_limit ublk@killed.service
node=$(start_device killed.conf)
mkfs.ext4 -q "$node"
mount "$node" mnt
at_exit umount -q -l mnt
# kill_one: and wait for the next. Asked of the device at first: systemctl costs the new server much time here.
kill_one() {
	local pid
	pid=$(unit_has ublk@killed.service MainPID)
	event "kill $pid"
	kill -KILL "$pid"
	timeout 60 dd if="$node" of=/dev/null bs=4096 count=1 iflag=direct status=none
	wait_until 60 is_back ublk@killed.service "$pid"
}

# The figure, without a load that takes the processors from the new server.
truncate -s 1M mnt/pauses
pauses_begin "$PWD/mnt/pauses"
alone=$((full ? 20 : 3))
for ((i = 0; i < alone; i++)); do
	kill_one
done
pauses_end 'SIGKILL, with systemd' "$alone"

# Files with the sum of what is in them, noted elsewhere when they are synced.
writer() {
	local n
	for ((n = 0; ; n++)); do
		[[ ! -e writer.enough ]] || return 0
		head -c $((4096 + RANDOM)) /dev/urandom >part || return
		dd if=part of="mnt/file$((n % 200))" bs=64K conv=fsync status=none || return
		sync mnt || return
		echo "file$((n % 200)) $(md5sum <part)" >>synced
	done
}
: >synced
writer 2>writer.log &
writer=$!
at_exit touch writer.enough
truncate -s 24M mnt/torture
torture_begin "$PWD/mnt/torture" --workers=1 --depth=8 --max=64K
pauses_begin "$PWD/mnt/pauses"
for ((i = 0; i < kills; i++)); do
	pass_time $((RANDOM % 1000))
	kill_one
done
[[ $(unit_has ublk@killed.service NRestarts) == $((kills + alone)) ]]
pass_time 500
touch writer.enough
wait_until 120 is_gone "$writer"
wait "$writer" || fail "the writer: $(<writer.log)"
torture_end
pauses_end 'SIGKILL under a file system' "$kills"
wait_until 20 nobody_waits

echo 3 >/proc/sys/vm/drop_caches
# the last line of each file
(($(wc -l <synced) >= kills))
n=0
while read -r name sum _; do
	[[ $(md5sum <"mnt/$name") == "$sum "* ]] || fail "$name is not what was synced"
	n=$((n + 1))
done < <(tac synced | awk '!seen[$1]++')
((n > 0))
umount mnt
fsck.ext4 -fn "$node"
! kernel_log | grep -E "(I/O error|Buffer I/O).*${node#/dev/}|EXT4-fs (error|warning)" || fail "the kernel has seen errors"
[[ $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" && $(realpath /dev/ublk/killed) == "$node" ]]
journalctl --sync
(($(journalctl -q -b -o cat _SYSTEMD_UNIT=ublk@killed.service | grep -c 'took over ublk device') == kills + alone))
stop_name killed
[[ ! -e /run/ublkd/killed && -z $(ls /run/ublkd/udev) && -z $(ls /sys/class/ublk-char) ]]
