# guest: full
# rows: 1 2 3
# rows-short: 2
# timeout: 180
# timeout-long: 600
# A hundred devices (some of them, in the short form), started by one command and stopped by one: all
# are there when it returns, each under its name with its own backend, and nothing is left of them. In the long form
# the machine is idle with them, too.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
# each costs an emulated machine a second and a half
n=24
((VM_LONG == 0)) || n=100
mkdir -p /etc/ublk
names=()
for ((i = 1; i <= n; i++)); do
	name=$(printf 'h%03d' "$i")
	names+=("$name")
	type=null
	((i % 2)) || type=memory
	printf '[Device]\nSize=%dM\n[Backend]\nType=%s\n[Queues]\nCount=1\nDepth=16\nMaxIO=64K\n' \
		"$i" "$type" >"/etc/ublk/$name.conf"
done
remove_definitions() { rm -f /etc/ublk/h[0-9][0-9][0-9].conf; }
at_exit remove_definitions
units=("${names[@]/#/ublk@}")
units=("${units[@]/%/.service}")
at_exit systemctl stop "${units[@]}"
free_before=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)

start=$EPOCHREALTIME
systemctl start "${units[@]}"
started=$EPOCHREALTIME
[[ $(systemctl is-active "${units[@]}" | sort | uniq -c | tr -s ' ') == " $n active" ]]
used=$((free_before - $(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)))
nodes=()
for ((i = 1; i <= n; i++)); do
	name=${names[i - 1]}
	node=$(realpath -e "/dev/ublk/$name")
	[[ $(realpath -e "/dev/disk/by-id/ublk-$name") == "$node" ]]
	# its size tells whose it is
	[[ $(<"/sys/block/${node#/dev/}/size") == $((i * 2048)) ]] || fail "$name is not $node"
	nodes+=("$node")
done
[[ $(printf '%s\n' "${nodes[@]}" | sort -u | wc -l) == "$n" ]]
ublkctl list --json >"$WORK/list"
[[ $(jq '[.[] | select(.state == "live" and (.name | startswith("h")) and .server_pid > 0)] | length' "$WORK/list") == "$n" ]]
[[ $(ublkctl list --no-legend | grep -c '^h') == "$n" ]]
# a word on each, all at once, found again where it was written
for ((i = 2; i <= n; i += 2)); do
	printf '%-4096d' "$i" | dd of="${nodes[i - 1]}" bs=4096 seek="$i" oflag=direct status=none &
done
wait
for ((i = 2; i <= n; i += 2)); do
	word=$(dd if="${nodes[i - 1]}" bs=4096 skip="$i" count=1 iflag=direct status=none | tr -d ' ')
	[[ $word == "$i" ]] || fail "${names[i - 1]} says $word"
done

udevadm settle
if ((VM_LONG)); then
	mapfile -t pids < <(systemctl show -P MainPID "${units[@]}" | sed '/^$/d')
	now() {
		awk '$1 == "cpu" { print $6 }' /proc/stat
		sed -n 's/^some.* total=//p' /proc/pressure/io 2>/dev/null || echo 0
		for pid in "${pids[@]}"; do
			cat /proc/"$pid"/task/*/status
		done | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'
	}
	pass_time 20000 # the kernel's own workers go home after 5 s, and udev's after 3
	mapfile -t from < <(now)
	pass_time 10000
	mapfile -t to < <(now)
	iowait=$((to[0] - from[0])) pressure=$((to[1] - from[1])) switches=$((to[2] - from[2]))
	echo "figure: $n idle devices: in 10 s $iowait ticks of iowait, $pressure us of I/O pressure, $switches switches"
	# a beat in ten seconds wakes up the main thread, the queue's and at times that of the log
	((iowait < 40 && pressure < 400000 && switches < 12 * n)) || fail "not idle"
fi
stop=$EPOCHREALTIME
systemctl stop "${units[@]}"
stopped=$EPOCHREALTIME
[[ $({ systemctl is-active "${units[@]}" || true; } | sort | uniq -c | tr -s ' ') == " $n inactive" ]]
[[ $(systemctl show -P Result "${units[@]}" | sed '/^$/d' | sort -u) == success ]]
udevadm settle
[[ -z $(ls /sys/class/ublk-char) ]]
compgen -G '/dev/ublk[bc]*' && fail "nodes are left"
[[ ! -e /dev/ublk || -z $(ls /dev/ublk) ]]
compgen -G '/dev/disk/by-id/ublk-*' && fail "links are left"
[[ -z $(ls /run/ublkd/udev) && -z $(find /run/ublkd -name 'h*') ]]
awk -v a="$start" -v b="$started" -v c="$stop" -v d="$stopped" -v u="$used" -v n="$n" 'BEGIN {
	printf "figure: %d devices started in %.1f s, stopped in %.1f s; %d kB of memory each\n", n, b - a, d - c, u / n }'
