# guest: mini
# rows-short: 1
# smp: 4
# timeout: 120
# With 1, 2 and 4 queues: what a CPU sends arrives at the thread of that CPU's queue and at no other, each thread is
# bound to the CPUs of its queue, and the data is right. More queues than CPUs there are not, and the server says so.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
n=16
head -c 1M /dev/urandom >data

# counts OPERATION: of all queues, one a line
counts() { ublkctl status queues --json | jq -e ".counters.queues[].$1.count"; }

# thread QUEUE: directory in /proc
thread() { grep -lx "ublkd-q$1" "/proc/$server"/task/*/comm | sed 's,/comm$,,'; }

# only_at QUEUE OPERATION BEFORE: that queue has $n more than before, the others as many
only_at() {
	diff <(awk -v q="$1" -v n="$n" '{ print NR - 1 == q ? $1 + n : $1 }' <<<"$3") <(counts "$2") ||
		fail "$2 requests of queue $1 went elsewhere"
}

# switches QUEUE: how often its thread has slept
switches() { awk '$1 == "voluntary_ctxt_switches:" { print $2 }' "$(thread "$1")/status"; }

try() {
	local want=$1 queues=$2 q cpu at before slept cpus all=
	cat >queues.conf <<-X
		[Device]
		Size=64M
		[Backend]
		Type=file
		Path=$WORK/fs/queues.img
		Create=sparse
		[Queues]
		Count=$want
		Depth=32
	X
	serve queues
	[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == "$queues" ]]
	[[ $(counts read | wc -l) == "$queues" ]]
	[[ $(grep -lE '^ublkd-q[0-9]+$' "/proc/$server"/task/*/comm | wc -l) == "$queues" ]]
	if ((want > queues)); then
		grep -x "queues: notice: $queues queues instead of $want: the kernel makes no more than there are CPUs" queues.log
	else
		! grep notice queues.log || fail "an unexpected notice"
	fi

	if ((want > queues)); then
		stop_and_look "$dev"
		return
	fi
	rm -f want
	truncate -s 64M want
	for ((q = 0; q < queues; q++)); do
		# "0, 2": the queues of a kernel are not in the order of its CPUs
		cpus=$(tr -d ' ' <"/sys/block/${dev#/dev/}/mq/$q/cpu_list")
		all+=,$cpus
		diff <(taskset -c -p "$(basename "$(thread "$q")")" | sed 's/^.*: //' | expand_list) <(expand_list <<<"$cpus") ||
			fail "queue $q is not bound to its CPUs"
		for cpu in ${cpus//,/ }; do
			at=$((cpu * n * 4))
			before=$(counts write)
			slept=$(switches "$q")
			taskset -c "$cpu" dd if=data skip="$at" of="$dev" seek="$at" bs=4K count="$n" oflag=direct status=none
			dd if=data skip="$at" of=want seek="$at" bs=4K count="$n" conv=notrunc status=none
			only_at "$q" write "$before"
			(($(switches "$q") > slept)) || fail "the thread of queue $q has not run"
			before=$(counts read)
			taskset -c "$cpu" dd if="$dev" skip="$at" of=got bs=4K count="$n" iflag=direct status=none
			only_at "$q" read "$before"
			cmp <(dd if=data skip="$at" bs=4K count="$n" status=none) got
		done
	done
	# each CPU belongs to one queue
	[[ $(tr ',' '\n' <<<"$all" | sed '/^$/d' | sort -n | tr '\n' ' ') == "0 1 2 3 " ]]
	cmp want fs/queues.img

	# all at once
	before=$(counts write)
	fio --name=all --filename="$dev" --rw=randwrite --direct=1 --ioengine=libaio --iodepth=8 --bsrange=4k-64k --size=2M \
		--numjobs=4 --offset_increment=16M --cpus_allowed=0-3 --cpus_allowed_policy=split --verify=crc32c \
		--randseed="$want" --output=fio.log || fail "$(<fio.log)"
	[[ $(paste <(counts write) - <<<"$before" | awk '$1 < $2 + 8' | wc -l) == 0 ]] ||
		fail "not all queues have served: $(counts write)"
	stop_and_look "$dev"
	rm fs/queues.img
}

[[ $(nproc) == 4 ]]
try 1 1
try 2 2
try 4 4
try 7 4
