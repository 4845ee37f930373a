# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154
# Sourced by the scripts of tests/bench that hold our devices against others. Prints "kernel RELEASE" and "result PLACE
# LOAD DEVICE ROUND JSON". In device, which they declare, [PLACE NAME] is one; NAME is ublk for ours.
. "$VM_LIB/common.sh" # set -euo pipefail, start_device
. /vm/files/pairs.env # ROUNDS SECONDS_EACH

# lo is down without those who bring it up: SIOCSIFFLAGS, IFF_UP
lo_up() { perl -e 'my $lo = pack("a16sx22", "lo", 1); socket(S, 2, 2, 0) && ioctl(S, 0x8914, $lo) or die $!'; }

plain() {
	echo none >"/sys/block/${1##*/}/queue/scheduler"
	echo 0 >"/sys/block/${1##*/}/queue/iostats"
}

# one DEVICE LOAD: as in randread-4k-32
one() {
	local rw bs depth direction
	IFS=- read -r rw bs depth <<<"$2"
	direction=${rw#rand}
	fio --name=x --filename="$1" --direct=1 --ioengine=io_uring --rw="$rw" --bs="$bs" --size=64M --iodepth="$depth" \
		--norandommap --time_based --runtime="$SECONDS_EACH" --percentile_list=50:99 --output-format=json 2>/dev/null |
		jq -c --arg d "$direction" '.jobs[0][$d] | {iops, p50: .clat_ns.percentile["50.000000"],
			p99: .clat_ns.percentile["99.000000"]}'
}

# compare PLACE LOAD...: the devices of that place, one after another, ROUNDS times
compare() {
	local place=$1 load i key
	for load in "${@:2}"; do
		for ((i = 0; i < ROUNDS; i++)); do
			for key in "${!device[@]}"; do
				[[ ${key% *} != "$place" ]] || echo "result $place $load ${key#* } $i $(one "${device[$key]}" "$load")"
			done
		done
	done
}
echo "kernel $(uname -r)"
