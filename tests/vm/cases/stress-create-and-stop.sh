# guest: mini
# rows: 1 2
# rows-short: 1
# timeout: 180
# timeout-long: 7200
# Devices that are made, used for a moment and stopped, as fast as it goes: one after the other, with I/O that goes on
# meanwhile, told to stop by many processes at once with restarts and ublkctl gc in between, and several together. No
# process fails or hangs, and nothing becomes more: numbers of devices, memory, files, processes; of the manager, which
# lives on, descriptors and threads, too. The long form ends with 500 devices of a manager, under writers.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
rounds=3 together=4
((VM_LONG == 0)) || rounds=30 together=16
modprobe ublk_drv
mkdir -p img

# definition NAME TYPE
definition() {
	printf '[Device]\nSize=16M\n[Queues]\nCount=2\nDepth=16\nMaxIO=64K\n[Recovery]\nMode=%s\n[Backend]\nType=%s\n' \
		"$([[ $2 == memory ]] && echo none || echo reissue)" "$2" >"$WORK/$1.conf"
	[[ $2 == memory ]] || printf 'Path=%s\nCreate=sparse\n' "$WORK/img/$1" >>"$WORK/$1.conf"
}

# what runs and may have to be killed if this case fails
declare -A live=()
kill_the_rest() { ((${#live[@]} == 0)) || kill -KILL "${!live[@]}"; }
at_exit kill_the_rest

# begin NAME: sets $server
begin() {
	rm -f "$WORK/$1.log"
	ublkd serve --config "$WORK/$1.conf" 2>"$WORK/$1.log" &
	server=$!
	live[$server]=$1
}
is_ready() { grep -q ': info: ready: ' "$WORK/$1.log"; }
is_ready_or_gone() { is_ready "$1" || is_gone "$2"; }
# ready NAME PID: sets $dev
ready() {
	wait_until 60 is_ready_or_gone "$1" "$2"
	dev=$(sed -n 's/.*: info: ready: \([^ ]*\).*/\1/p' "$WORK/$1.log")
	[[ -b $dev ]] || fail "$1: $(<"$WORK/$1.log")"
}
# where_it_is PID: what its threads wait for
where_it_is() { (cd "/proc/$1/task" && head -n 20 ./*/comm ./*/syscall ./*/stack) 2>&1; }
# ends NAME PID: with status 0
ends() {
	local got=0
	wait_until 60 is_gone "$2" || fail "$1 hangs: $(<"$WORK/$1.log") $(where_it_is "$2")"
	wait "$2" || got=$?
	unset "live[$2]"
	((got == 0)) || fail "$1 ended with $got: $(<"$WORK/$1.log")"
}
no_errors() {
	! grep -E ': (error|warning): ' "$WORK/$1.log" | grep -v 'there is no /dev/ublk/' || fail "$1: $(<"$WORK/$1.log")"
}
# the driver gives the smallest number that is free: with one device at a time it is always 0
only_ublkb0() { [[ $dev == /dev/ublkb0 && $(ls /sys/class/ublk-char) == ublkc0 ]] || fail "$dev is not the only one"; }

# made, used and stopped
alone() {
	begin "$1"
	ready "$1" "$server"
	only_ublkb0
	put "$dev" $((RANDOM % 4096)) x oflag=direct
	kill -TERM "$server"
	ends "$1" "$server"
	no_errors "$1"
	nothing_is_left
}

# Told to stop before it is ready, at some time of its start.
stopped_while_it_starts() {
	local got=0
	begin "$1"
	wait_until 10 test -e "$WORK/$1.log"
	while ((RANDOM % 10)) && ! is_ready "$1"; do
		: # a moment
	done
	kill -TERM "$server"
	# Before it has said what to do with signals they end it as any process.
	wait_until 60 is_gone "$server" || fail "$1 hangs: $(<"$WORK/$1.log")"
	wait "$server" || got=$?
	unset "live[$server]"
	((got == 0 || got == 143)) || fail "$1 ended with $got: $(<"$WORK/$1.log")"
	ublkctl gc >/dev/null
	nothing_is_left
}

# Somebody opens it, writes and closes it, again and again, until there is nothing to open.
writes_until_it_is_gone() {
	local n=0 went_wrong=0
	while [[ -b $1 ]]; do
		if dd if=/dev/zero of="$1" bs=4096 seek=$((RANDOM % 4000)) count=3 oflag=direct conv=notrunc,nocreat \
			status=none 2>>"$WORK/writer.log"; then
			n=$((n + 1))
		elif [[ -e $WORK/told ]]; then
			went_wrong=$((went_wrong + 1))
		else
			echo "$1: an error after $n writes, before anybody had told the server to stop" >>"$WORK/writer.failed"
		fi
	done
	echo "$n $went_wrong" >>"$WORK/writer.counts"
}
# Whoever opens a device that is being stopped gets errors, and how many is his own speed: kernels keep nobody from that
# but who mounts it. Before, there are none.
stopped_under_writers() {
	local writers=() w
	rm -f writer.failed writer.log told
	begin "$1"
	ready "$1" "$server"
	only_ublkb0
	for w in 1 2; do
		writes_until_it_is_gone "$dev" &
		writers[w]=$!
	done
	# while they are at it
	wait_until 30 has_written "$dev" 5
	touch told
	kill -TERM "$server"
	ends "$1" "$server"
	for w in "${writers[@]}"; do
		wait_until 30 is_gone "$w"
		wait "$w"
	done
	[[ ! -e writer.failed ]] || fail "$(cat writer.failed writer.log "$WORK/$1.log")"
	nothing_is_left
}
has_written() { (($(awk '{ print $5 }' "/sys/block/${1#/dev/}/stat") >= $2)); }

# From all sides at once. What was a restart leaves the device for a successor, and there is none: gc takes it away,
# now or in the end.
stopped_from_all_sides() {
	local sides=() i n=0
	begin "$1"
	ready "$1" "$server"
	put "$dev" 7 y oflag=direct
	for ((i = 0; i < 8; i++)); do
		case $((RANDOM % 4)) in
		0) ublkctl gc >/dev/null & ;;
		1) kill -USR2 "$server" 2>/dev/null & ;;
		*) kill -TERM "$server" 2>/dev/null & ;;
		esac
		sides[i]=$!
	done
	kill -TERM "$server" 2>/dev/null || true
	ends "$1" "$server"
	for i in "${sides[@]}"; do
		wait_until 60 is_gone "$i" || fail "a process that stops it hangs"
	done
	while ! (nothing_is_left) 2>/dev/null; do # a failure of it would end this case
		((n += 1, n <= 20)) || fail "gc does not remove it: $(ublkctl gc; ublkctl list)"
		ublkctl gc >/dev/null
	done
}

# Several at once, stopped at once.
several() {
	local pids=() i
	for ((i = 0; i < together; i++)); do
		begin "t$i"
		pids[i]=$server
	done
	for ((i = 0; i < together; i++)); do
		ready "t$i" "${pids[i]}"
		put "$dev" "$i" z oflag=direct
		((${dev#/dev/ublkb} < together)) || fail "$dev, of $together"
	done
	kill -TERM "${pids[@]}"
	for ((i = 0; i < together; i++)); do
		ends "t$i" "${pids[i]}"
		no_errors "t$i"
	done
	nothing_is_left
}

# The same devices of one process, which a reload takes away and brings back.
n_of() { find "/proc/$manager/$1" -mindepth 1 -maxdepth 1 | wc -l; }
all_are_there() { [[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == "$1" ]]; }
of_a_manager() {
	local i
	for ((i = 0; i < together; i++)); do
		define "t$i" memory 16M
	done
	reload_manager 120 0
	all_are_there "$together"
	for i in /sys/class/ublk-char/ublkc*; do
		put "/dev/ublkb${i##*ublkc}" 1 m oflag=direct
	done
	rm -f /etc/ublk/t*.conf
	reload_manager 120 0
	all_are_there 0
}

available() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo
}
# They are in memory, as /tmp is, and fill up with what random writes leave in them.
forget_images() { rm -f img/*; }
n_processes() { find /proc -maxdepth 1 -name '[0-9]*' | wc -l; }
files() { find /run /dev -xdev ! -path '/run/vm-*' | sort; }
n_done=0
all_of_it() {
	local type
	for type in memory file; do
		definition one $type
		alone one
		alone one
		stopped_while_it_starts one
		stopped_under_writers one
		stopped_from_all_sides one
	done
	several
	n_done=$((n_done + 10 + together))
}

for ((i = 0; i < together; i++)); do
	definition "t$i" "$([[ $((i % 2)) == 0 ]] && echo memory || echo file)"
done
remove_definitions
all_of_it # what is made once is made now
forget_images
memory=$(available) processes=$(n_processes)
files >"$WORK/files"
for ((round = 1; round < rounds; round++)); do
	all_of_it
done
forget_images
lost=$((memory - $(available)))
echo "figure: $lost kB less memory available after $n_done devices"
awk '{ n += $1; e += $2 } END { printf "figure: writers of devices that were stopped: %d writes, %d errors after that\n", n, e }' \
	writer.counts
((lost < 16000 + n_done * 2)) || fail "memory is lost"
files | diff "$WORK/files" -
no_ring_workers() { ! pgrep -f 'iou-(wrk|sqp)'; }
wait_until 20 no_ring_workers
(($(n_processes) < processes + 20)) || fail "$(n_processes) processes instead of $processes"

start_manager
manager_is_ready 60
at_exit remove_definitions
of_a_manager
memory=$(available) n_fds=$(n_of fd) n_threads=$(n_of task)
for ((round = 0; round < rounds; round++)); do
	of_a_manager
done
(($(n_of fd) <= n_fds)) || fail "the manager has $(n_of fd) descriptors instead of $n_fds"
(($(n_of task) <= n_threads)) || fail "the manager has $(n_of task) threads instead of $n_threads"
lost=$((memory - $(available)))
((lost < 16000)) || fail "$lost kB are lost by the manager"
kill -TERM "$manager"
manager_ends 60 0
nothing_is_left

if ((VM_LONG)); then
	n=500
	room_for $((n + 10))
	for ((i = 0; i < n; i++)); do
		define "$(printf 'm%03d' "$i")" memory 1M
	done
	for round in 1 2 3; do
		start_manager
		manager_is_ready 600
		all_are_there $n
		writers=()
		for ((i = 0; i < n; i += 10)); do
			fio --name=w --filename="/dev/ublkb$i" --rw=randwrite --direct=1 --bs=4k --ioengine=libaio --iodepth=4 \
				--time_based --runtime=30 >"fio$i.log" 2>&1 &
			writers+=($!)
		done
		# fio takes a device that has gone before it looks for a bad one
		for ((i = 0; i < n; i += 10)); do
			wait_until 120 has_written "/dev/ublkb$i" 1
		done
		kill -TERM "$manager"
		for i in "${writers[@]}"; do
			wait_until 300 is_gone "$i"
			wait "$i" || fail "a writer failed: $(cat fio*.log | grep -a err | sort | uniq -c)"
		done
		manager_ends 600 0
		nothing_is_left
		((round > 1)) || memory=$(available)
	done
	lost=$((memory - $(available)))
	echo "figure: $lost kB less memory available after twice $n devices of a manager"
	((lost < 16000)) || fail "memory is lost"
fi
wait_until 20 rmmod ublk_drv
