# guest: mini
# rows-short: 1
# timeout: 120
# timeout-long: 600
# SIGKILL of a server whose device is not recoverable, idle or with requests under way: their users get EIO and nobody hangs; a new
# server of the name removes what is left and finds all that was flushed. One that is killed in a row leaks nothing.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"

# define DEPTH
define() {
	cat >killed.conf <<-E
		[Device]
		Size=1T
		[Backend]
		Type=file
		Path=$WORK/fs/killed.img
		Create=sparse
		[Queues]
		Count=2
		Depth=$1
		[Recovery]
		Mode=none
	E
}
mkfs.ext4 -q -N 64 "$SCRATCH0" 64M
mkdir fs
mount "$SCRATCH0" fs
at_exit umount fs

# removed: the server that has just started has removed one device, that of the dead one, which the kernel knows as
# dead or, if all of its requests were with the server (6.12), still as live
removed() {
	[[ $(grep -cE '^killed: notice: removing ublk device [0-9]+, which a server that died has left \((dead|live)\)$' \
		killed.log) == 1 ]] || fail "not said what was removed: $(<killed.log)"
	[[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == 1 ]]
	[[ $(ls /run/ublkd/udev) == "${dev#/dev/}" ]]
}

enough() { (($(wc -l <flushed) >= 10)); }

# idle
define 16
serve killed
for ((i = 0; i < (VM_LONG ? 100 : 5); i++)); do
	put "$dev" "$i" x oflag=direct,dsync
	kill_server
	[[ -e /run/ublkd/killed/state ]]
	serve killed
	removed
	has "$dev" "$i" x iflag=direct
done

# under way. The writer flushes each block and notes it then; the readers have no end to come to within 1T.
for depth in 16 $((VM_LONG ? 1 : 2)); do
	stop_server
	define "$depth"
	serve killed
	readers=()
	for i in 1 2 3; do
		dd if="$dev" of=/dev/null bs=64K iflag=direct status=none 2>"read.$i" &
		readers+=($!)
	done
	: >flushed
	(
		for ((block = 1000; ; block++)); do
			put "$dev" "$block" y oflag=direct,dsync conv=nocreat 2>write.log || exit 0
			echo "$block" >>flushed
		done
	) &
	writer=$!
	wait_until 60 enough || fail "$(wc -l <flushed) blocks were written: $(<write.log)"
	kill_server
	# 30 s and more if the kernel (6.12) has all of the few requests in the server
	for i in "${!readers[@]}"; do
		wait_until 90 is_gone "${readers[i]}"
		expect_status 1 wait "${readers[i]}"
		grep -x "dd: error reading '$dev': Input/output error" "read.$((i + 1))"
	done
	wait_until 90 is_gone "$writer"
	grep -E "^dd: (error writing|failed to open|fsync failed for) '$dev'" write.log
	serve killed
	removed
	n=0
	while read -r block; do
		has "$dev" "$block" y iflag=direct
		n=$((n + 1))
	done < <(tail -n 20 flushed)
	((n >= 10))
done

# again and again, at once when it is up
for ((i = 0; i < (VM_LONG ? 200 : 5); i++)); do
	kill_server
	serve_begin killed
	wait_until 60 grep ': info: ready: ' killed.log
done
wait_until 60 _has_answered killed
dev=$(device_of killed)
removed
has "$dev" 0 x iflag=direct
stop_server
nothing_is_left
