#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/smp, with $ROUNDS, $SECONDS_EACH and, in /vm/files/smp.d, the definitions.
# Prints "kernel RELEASE" and "result NAME LOAD ROUND JSON".
. "$VM_LIB/common.sh" # set -euo pipefail, start_device
. /vm/files/smp.env   # ROUNDS SECONDS_EACH
config=/sys/kernel/config/nullb
declare -A device

plain() {
	[[ $1 == /dev/ram* ]] || echo none >"/sys/block/${1##*/}/queue/scheduler"
	echo 0 >"/sys/block/${1##*/}/queue/iostats"
}

# null_blk_new NAME QUEUES
null_blk_new() {
	local a
	mkdir "$config/$1"
	for a in size=64 queue_mode=2 submit_queues="$2" hw_queue_depth=128 irqmode=0 power=1; do
		echo "${a#*=}" >"$config/$1/${a%%=*}"
	done
}

modprobe -a ublk_drv loop
modprobe null_blk nr_devices=0
modprobe brd rd_nr=2 rd_size=$((128 << 10))
mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
null_blk_new nullb0 1
null_blk_new nullb1 2
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0,nodiscard /dev/ram0
mkdir -p backing
mount -o commit=900 /dev/ram0 backing
at_exit umount "$WORK/backing"
dd if=/dev/zero of=backing/looped bs=1M count=64 oflag=direct conv=fsync status=none
losetup --direct-io=on /dev/loop0 backing/looped
at_exit losetup --detach /dev/loop0
device=([null_blk-1]=/dev/nullb0 [null_blk-2]=/dev/nullb1 [brd]=/dev/ram1 [loop]=/dev/loop0)
names=(null_blk-1 null_blk-2 brd loop)
for definition in /vm/files/smp.d/*.conf; do
	name=$(basename "$definition" .conf)
	device[$name]=$(start_device "$definition")
	names+=("$name")
done
for name in "${names[@]}"; do
	plain "${device[$name]}"
	dd if=/dev/zero of="${device[$name]}" bs=1M count=64 oflag=direct status=none
done
names+=(null_blk-2@0 null-2@0 memory-2@0 memory-1@0 polled-1@0)

# one NAME DEPTH: two processes, each on a CPU of its own. NAME@0: one of them, on CPU 0. Of two queues it uses that of
# this CPU, whose thread is on it, too.
one() {
	local cpus=0,1 jobs=2
	[[ $1 != *@0 ]] || cpus=0 jobs=1
	fio --name=x --filename="${device[${1%@0}]}" --direct=1 --ioengine=io_uring --fixedbufs --registerfiles \
		--rw=randread --bs=4k --size=64M --norandommap --numjobs="$jobs" --group_reporting --iodepth="$2" \
		--cpus_allowed="$cpus" --cpus_allowed_policy=split --time_based --runtime="$SECONDS_EACH" \
		--percentile_list=50:99:99.9 --output-format=json 2>/dev/null |
		jq -c '.jobs[0].read | {iops, p50: .clat_ns.percentile["50.000000"],
			p99: .clat_ns.percentile["99.000000"], p999: .clat_ns.percentile["99.900000"]}'
}

echo "kernel $(uname -r)"
for depth in 32 1; do
	one "${names[0]}" $depth >/dev/null # all of fio is in memory then
	for ((round = 0; round < ROUNDS; round++)); do
		for name in "${names[@]}"; do
			figures=$(one "$name" $depth)
			echo "result $name $depth $round $figures"
		done
	done
done
