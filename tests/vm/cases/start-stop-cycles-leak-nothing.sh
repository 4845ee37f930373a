# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 240
# timeout-long: 1200
# Starting and stopping one device again and again by systemd: the same number each time, and
# neither the kernel nor systemd nor the journal has more than before.
. "$VM_LIB/common.sh"
rounds=20
((VM_LONG == 0)) || rounds=150
cat >"$WORK/cycle.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=file
	Path=$WORK/cycle.img
	Create=sparse
	[Queues]
	Count=2
	Depth=16
E
install_definition "$WORK/cycle.conf"
at_exit systemctl stop ublk@cycle.service
# more than StartLimitBurst= allows in a row
mkdir -p /run/systemd/system/ublk@cycle.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/ublk@cycle.service.d/limit.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/ublk@cycle.service.d
systemctl daemon-reload

show() { systemctl show -P "$1" ublk@cycle.service; }
n_fds() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
journald=$(systemctl show -P MainPID systemd-journald.service)
# what the kernel keeps for a while is not lost
available() {
	udevadm settle
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}
files() { find /run /dev -xdev ! -path '/run/udev/*' ! -path '/run/systemd/*' ! -path '/run/log/*' | sort; }
cycle() {
	systemctl start ublk@cycle.service
	echo $(($(show ActiveEnterTimestampMonotonic) - $(show InactiveExitTimestampMonotonic))) >>"$WORK/times"
	[[ $(realpath -e /dev/ublk/cycle) == /dev/ublkb0 ]]
	[[ -z ${minor-} || $(stat -c %t:%T /dev/ublkc0) == "$minor" ]]
	minor=$(stat -c %t:%T /dev/ublkc0)
	printf '%-512d' "$1" | dd of=/dev/ublkb0 bs=512 seek="$1" oflag=direct status=none
	systemctl stop ublk@cycle.service
	[[ ! -e /run/ublkd/cycle && -z $(ls /sys/class/ublk-char) ]]
}
for ((i = 0; i < 5; i++)); do
	cycle "$i"
done
memory=$(available)
fds_1=$(n_fds 1) fds_journald=$(n_fds "$journald")
files >"$WORK/files"
for (( ; i < rounds; i++)); do
	cycle "$i"
done
lost=$((memory - $(available)))
echo "figure: $lost kB less memory available after $((rounds - 5)) starts and stops by systemd"
# The journal is in memory and grows with every message.
((lost < 20000 + (rounds - 5) * 30))
(($(n_fds 1) <= fds_1 + 2)) || fail "systemd has $(n_fds 1) files open instead of $fds_1"
(($(n_fds "$journald") <= fds_journald + 2)) || fail "the journal has $(n_fds "$journald") files open"
files | diff "$WORK/files" -
no_ring_workers() { ! pgrep -f 'iou-(wrk|sqp)'; }
wait_until 20 no_ring_workers
[[ $(show NRestarts) == 0 ]]

# and no round has lost what one before it wrote
for ((i = 0; i < rounds; i++)); do
	printf '%-512d' "$i"
done | cmp -n $((rounds * 512)) - "$WORK/cycle.img"

sort -n "$WORK/times" | awk '{ t[NR] = $1 / 1000 } END {
	printf "figure: systemctl start to READY=1: median %.0f ms of %d (%.0f to %.0f)\n",
		(t[int((NR + 1) / 2)] + t[int(NR / 2) + 1]) / 2, NR, t[1], t[NR] }'
