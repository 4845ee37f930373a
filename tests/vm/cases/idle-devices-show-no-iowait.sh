# guest: mini
# rows: 1 2 3
# rows-short: 1 2
# timeout: 90
# Threads that wait for requests are idle, before the first request and again after some: no iowait, no I/O pressure,
# and nothing wakes them up but a beat in ten seconds, and a worker of the kernel's own in five.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
names=(one two three)
types=(null memory file)
devices=()
pids=()
truncate -s 32M one.img
for i in 0 1 2; do
	cat >"${names[i]}.conf" <<-X
		[Device]
		Size=32M
		[Queues]
		Count=2
		[Backend]
		Type=${types[i]}
	X
	[[ ${types[i]} != file ]] || echo "Path=$WORK/one.img" >>"${names[i]}.conf"
	serve "${names[i]}"
	devices+=("$dev")
	pids+=("$server")
done

iowait() { awk '$1 == "cpu" { print $6 }' /proc/stat; }
pressure() { sed -n 's/^some.* total=//p' /proc/pressure/io 2>/dev/null || echo 0; }
switches() {
	local pid
	for pid in "${pids[@]}"; do
		awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }' /proc/"$pid"/task/*/status
	done | awk '{ n += $1 } END { print n }'
}
# nothing_happens WHEN: within 5 s; ticks are 1/100 s, pressure is in microseconds
nothing_happens() {
	local i p s begin
	begin=$SECONDS
	past() { ((SECONDS >= begin + $1)); }
	wait_until 20 past 8 # the kernel's own workers go home after 5 s
	i=$(iowait) p=$(pressure) s=$(switches)
	wait_until 20 past 13
	i=$(($(iowait) - i)) p=$(($(pressure) - p)) s=$(($(switches) - s))
	echo "figure: idle $1: in 5 s $i ticks of iowait, $p us of I/O pressure, $s switches of 3 servers with 2 queues"
	((i < 20 && p < 200000 && s < 40)) || fail "not idle"
}
[[ -e /proc/pressure/io ]] || echo "this kernel does not tell of I/O pressure"
nothing_happens 'at first'
for dev in "${devices[@]}"; do
	dd if="$dev" of=/dev/null bs=4096 count=200 iflag=direct status=none
	dd if=/dev/zero of="$dev" bs=4096 count=200 oflag=direct status=none
done
nothing_happens 'after some requests'
# and they are still there
for dev in "${devices[@]}"; do
	timeout 5 dd if="$dev" of=/dev/null bs=4096 count=1 iflag=direct status=none
done
for i in 0 1 2; do
	server=${pids[i]}
	stop_server
done
