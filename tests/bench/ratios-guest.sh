#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/ratios.
set -euo pipefail
rounds=3 n_ios=20000

modprobe ublk_drv
modprobe null_blk nr_devices=1 queue_mode=2 submit_queues=1 hw_queue_depth=128 irqmode=0
modprobe brd rd_nr=1 rd_size=262144
modprobe loop
mkfs.ext4 -q /dev/ram0
mkdir -p /backing /etc/ublk
mount /dev/ram0 /backing
for image in served looped; do
	dd if=/dev/zero of=/backing/$image bs=1M count=64 status=none conv=fsync
done
cat >/etc/ublk/nothing.conf <<'CONF'
[Device]
Size=64M
[Backend]
Type=null
[Queues]
Count=1
CONF
cat >/etc/ublk/served.conf <<'CONF'
[Device]
LogicalBlockSize=4096
[Backend]
Type=file
Path=/backing/served
[Queues]
Count=1
CONF
losetup --direct-io=on --sector-size 4096 /dev/loop0 /backing/looped

serve() {
	ublkd serve "$1" >"/tmp/$1.log" 2>&1 &
	echo $! >"/tmp/$1.pid"
	for _ in {1..100}; do
		grep -o '/dev/ublkb[0-9]*$' "/tmp/$1.log" | tail -n 1 && return
		read -rt 0.1 <> <(:) || true
	done
	cat "/tmp/$1.log" >&2
	return 1
}
nothing=$(serve nothing)
served=$(serve served)
declare -A device=([null_blk]=/dev/nullb0 [ublk_null]=$nothing [loop_direct]=/dev/loop0
	[ublk_file]=$served)
for d in "${device[@]}"; do
	echo none >"/sys/block/${d##*/}/queue/scheduler"
	echo 0 >"/sys/block/${d##*/}/queue/iostats"
done

# one NAME DEPTH RW: nanoseconds for each I/O
one() {
	fio --name=x --filename="${device[$1]}" --direct=1 --ioengine=io_uring --iodepth="$2" \
		--iodepth_batch=8 --iodepth_batch_complete_max=8 --rw="$3" --bs=4k --size=64M \
		--number_ios=$n_ios --norandommap --randrepeat=1 --gtod_reduce=1 \
		--output-format=json 2>/dev/null |
		jq -r '.jobs[0] | 1e9 / (.read.iops + .write.iops) | floor'
}

median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

printf '%s\n' "kernel $(uname -r), instructions for each 4K I/O, median of $rounds"
printf '%-10s %5s %9s %9s %6s %11s %9s %6s\n' "" depth null_blk ublk_null ratio loop_direct ublk_file ratio
for rw in randread randwrite; do
	for depth in 1 32; do
		declare -A all=()
		for ((round = 0; round < rounds; round++)); do
			for name in null_blk ublk_null loop_direct ublk_file; do
				all[$name]+="$(one $name $depth $rw) "
			done
		done
		for name in "${!all[@]}"; do
			all[$name]=$(tr ' ' '\n' <<<"${all[$name]}" | grep . | median)
		done
		printf '%-10s %5s %9s %9s %6.2f %11s %9s %6.2f\n' $rw $depth "${all[null_blk]}" \
			"${all[ublk_null]}" "$(jq -n "${all[ublk_null]}/${all[null_blk]}")" \
			"${all[loop_direct]}" "${all[ublk_file]}" \
			"$(jq -n "${all[ublk_file]}/${all[loop_direct]}")"
	done
done
kill "$(</tmp/nothing.pid)" "$(</tmp/served.pid)"
