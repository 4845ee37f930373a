# guest: mini
# rows-short: 2
# timeout: 180
# timeout-long: 2400
# ublkd serve, ready, SIGTERM, again and again: the driver has the same number for it each time, and
# neither memory nor files nor kernel threads become more.
. "$VM_LIB/common.sh"
rounds=60
((VM_LONG == 0)) || rounds=$((VM_ROW == 2 ? 1000 : 200))
cat >"$WORK/round.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=memory
	[Queues]
	Count=2
	Depth=16
E
modprobe ublk_drv
available() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}
n_processes() { find /proc -maxdepth 1 -name '[0-9]*' | wc -l; }
is_ready() { grep -q 'ready: /dev/ublkb0$' "$WORK/log"; }
round() {
	local pid
	rm -f "$WORK/log" # or it is the last one that is ready
	ublkd serve --config "$WORK/round.conf" 2>"$WORK/log" &
	pid=$!
	wait_until 30 is_ready || fail "$(<"$WORK/log")"
	[[ $(ls /sys/class/ublk-char) == ublkc0 ]]
	printf '%-512d' "$1" | dd of=/dev/ublkb0 bs=512 count=1 oflag=direct status=none
	kill -TERM "$pid"
	wait "$pid" || fail "status $?: $(<"$WORK/log")"
	# all of it is gone when the process is, not some time later
	[[ -z $(ls /sys/class/ublk-char) && ! -e /dev/ublkb0 && ! -e /dev/ublkc0 ]]
	[[ ! -e /run/ublkd/round && -z $(ls /run/ublkd/udev) ]]
}
for ((i = 0; i < 10; i++)); do
	round "$i"
done
memory=$(available)
processes=$(n_processes)
find /run /dev -xdev | sort >"$WORK/files"
for (( ; i < rounds; i++)); do
	round "$i"
done
lost=$((memory - $(available)))
echo "figure: $lost kB less memory available after $((rounds - 10)) rounds of ublkd serve"
# 50 rounds and 990 rounds have cost the same 4 MB or nothing.
((lost < 16000))
find /run /dev -xdev | sort | diff "$WORK/files" -
no_ring_workers() { ! pgrep -f 'iou-(wrk|sqp)'; }
wait_until 20 no_ring_workers
# threads of the kernel come and go; one for each round would not
(($(n_processes) < processes + 20)) || fail "$(n_processes) processes instead of $processes"
wait_until 20 rmmod ublk_drv
