# guest: mini
# rows-short:
# smp: 64
# memory: 4096
# timeout: 600
# Count=auto and Threads=auto where there are 64 CPUs: four queues, each with a quarter of the CPUs; what each CPU sends
# arrives at the thread of its queue. The emulator has two CPUs for them, so it starts with one, and they come online here.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"

for cpu in /sys/devices/system/cpu/cpu*/online; do
	echo 1 >"$cpu"
done
[[ $(nproc) == 64 ]] || fail "there are $(nproc) CPUs"

counts() { ublkctl status many --json | jq -e '.counters.queues[].write.count'; }

printf '[Device]\nSize=64M\n[Backend]\nType=memory\n' >many.conf
serve many
for ((q = 0; q < 4; q++)); do
	cpus=$((q * 16))-$((q * 16 + 15))
	[[ $(expand_list <<<"$cpus") == "$(tr -d ' ' <"/sys/block/${dev#/dev/}/mq/$q/cpu_list" | expand_list)" ]] ||
		fail "queue $q has the CPUs $(<"/sys/block/${dev#/dev/}/mq/$q/cpu_list")"
	thread=$(grep -lx "ublkd-q$q" "/proc/$server"/task/*/comm)
	grep -q "^Cpus_allowed_list:[[:space:]]*$cpus\$" "${thread%/comm}/status" || fail "its thread has others"
done
[[ $(counts | wc -l) == 4 ]] || fail "queues: $(counts | wc -l)"
for ((cpu = 0; cpu < 64; cpu++)); do
	taskset -c "$cpu" dd if=/dev/urandom of="$dev" seek="$cpu" bs=4K count=1 oflag=direct status=none
done
[[ $(counts | tr '\n' ' ') == '16 16 16 16 ' ]] || fail "writes of each queue: $(counts | tr '\n' ' ')"
stop_server

# The manager has its threads by the machine, too.
define of-many memory 16M
at_exit remove_definitions
start_manager
manager_is_ready 60
n=$(cat "/proc/$manager/task/"*/comm | grep -c '^ublkd-w')
((n == 8)) || fail "the manager has $n threads for queues"
kill -TERM "$manager"
manager_ends 60 0
