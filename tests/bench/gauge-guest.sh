#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/gauge, which wrote /vm/files/plan:
#   target NAME PATH            what to measure: a device of set_up(), or "-": what plan.d/NAME.conf defines
#   target NAME kublk WORD...   what /vm/files/kublk serves, told so
#   case KEY ROUNDS OPTION...   measure it; the options are those of tests/tools/load
#   profile KEY OPTION...       for tests/bench/profile
# Prints "kernel RELEASE", "result NAME KEY JSON" for each round, "calls NAME KEY JSON" and "skipped NAME REASON"; for a
# profile also "map LINE" of the server, and "symbol ADDRESS NAME [MODULE]" of the kernel.
set -euo pipefail
plan=/vm/files/plan
config=/sys/kernel/config/nullb
server='' target='' device='' log='' kublk=/vm/files/kublk

# null_blk_new NAME ATTRIBUTE=VALUE...
null_blk_new() {
	local a
	mkdir "$config/$1"
	for a in size=64 max_sectors=2048 queue_mode=2 submit_queues=1 hw_queue_depth=128 "${@:2}" power=1; do
		echo "${a#*=}" >"$config/$1/${a%%=*}"
	done
}

# plain DEV: nothing of the block layer that depends on the device or on the time
plain() {
	local queue=/sys/block/${1##*/}/queue
	[[ $1 == ram* ]] || echo none >"$queue/scheduler"
	echo 0 >"$queue/iostats"
}

set_up() {
	local dev image
	modprobe -a ublk_drv loop
	modprobe null_blk nr_devices=0
	modprobe brd rd_nr=2 rd_size=$((512 << 10))
	mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
	null_blk_new nullb0 irqmode=0
	# like a fast disk: 10 us, no data
	null_blk_new nullb1 irqmode=2 completion_nsec=10000
	# no thread of the file system's, and no commit of its journal, while something is measured
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0,nodiscard /dev/ram0
	mkdir -p /backing /etc/ublk
	mount -o commit=900 /dev/ram0 /backing
	# nor of the disk of the root file system
	mount -t tmpfs tmpfs /etc/ublk
	mount -o remount,commit=900 /
	for image in raw loop-direct served-direct; do
		dd if=/dev/zero of=/backing/$image bs=1M count=64 oflag=direct conv=fsync status=none
	done
	# these are in the page cache, too
	for image in loop-buffered served-buffered; do
		dd if=/dev/zero of=/backing/$image bs=1M count=64 conv=fsync status=none
	done
	losetup --direct-io=on /dev/loop0 /backing/loop-direct
	losetup --direct-io=off /dev/loop1 /backing/loop-buffered
	losetup --direct-io=on /dev/loop2 /dev/nullb1
	for dev in nullb0 nullb1 ram0 ram1 loop0 loop1 loop2; do
		plain $dev
	done
	# what is written is not written back in between
	sysctl -q vm.dirty_writeback_centisecs=0 vm.dirty_expire_centisecs=1000000 \
		vm.dirty_background_ratio=80 vm.dirty_ratio=90
	settle 20
}

# settle SECONDS: the kernel ends what it began at boot, and takes apart the ring of the process before.
# A guest that does nothing takes no time of the host's.
settle() { sleep "$1"; }

stop() {
	[[ -n $server ]] || return 0
	if [[ $target == kublk-* ]]; then
		timeout 1000 "$kublk" del -n "${device#/dev/ublkb}" >"$log" 2>&1 || { cat "$log" >&2 && return 1; }
		server=
		return 0
	fi
	kill -TERM "$server"
	wait "$server" || { cat "$log" >&2 && return 1; }
	server=
	rm -f /etc/ublk/*.conf # the next may serve the same file
}

is_good() { ublkctl check "$1" >"$log" 2>&1; }

# serve NAME: sets $server and $device; false if the definition is refused
serve() {
	log=/tmp/$1.log
	cp "$plan.d/$1.conf" /etc/ublk/
	if ! is_good "$1"; then
		echo "skipped $1 $(sed 's/^[^ ]*: //' "$log" | head -n 1)"
		rm "/etc/ublk/$1.conf"
		return 1
	fi
	ublkd serve "$1" >"$log" 2>&1 &
	server=$!
	for _ in {1..300}; do
		device=$(grep -o '/dev/ublkb[0-9]*$' "$log" | tail -n 1) && break
		if [[ ! -e /proc/$server ]]; then
			wait "$server" || echo "skipped $1 $(tail -n 1 "$log")"
			server=
			return 1
		fi
		read -rt 0.1 <> <(:) || true
	done
	# not only false: this is called where nothing else ends the script
	plain "$device" || exit
}

# serve_kublk WORD...: the kernel's own server, of its tests; sets $server and $device
serve_kublk() {
	log=/tmp/kublk.log
	if ! timeout 1000 "$kublk" add --queues 1 --depth 128 "$@" >"$log" 2>&1; then
		echo "skipped $target $(grep . "$log" | tail -n 1)"
		return 1
	fi
	device=/dev/ublkb$(sed -n 's/^dev id \([0-9]*\):.*/\1/p' "$log")
	server=$(sed -n 's/.* daemon pid \([0-9]*\) .*/\1/p' "$log")
	plain "$device" || exit
}

# Whatever comes into being at the first use: memory of the backend, and buffers of all slots.
fill() {
	load --write --sequential --block=512K --depth=128 --warm-up=0 --requests=512 --size=64M \
		"$device" >/dev/null
}

# measure NAME KEY ROUNDS OPTION...
measure() {
	local name=$1 key=$2 rounds=$3 options=(--size=64M "${@:4}") figures
	[[ -z $server ]] || options+=("--server=$server")
	for ((; rounds > 0; rounds--)); do
		settle 1
		figures=$(load "${options[@]}" "$device")
		echo "result $name $key $figures"
	done
	if [[ -n $server ]]; then
		settle 1
		figures=$(load "${options[@]}" --calls "$device")
		echo "calls $name $key $figures"
	fi
}

# profile NAME KEY OPTION...
profile() {
	local figures
	settle 1
	figures=$(load --size=64M "${@:3}" ${server:+"--server=$server"} --profile "$device")
	echo "result $1 $2 $figures"
	[[ -z $server ]] || sed 's/^/map /' "/proc/$server/maps"
	awk '$2 ~ /^[tTwW]$/ { print "symbol", $1, $3, $4 }' /proc/kallsyms
}

echo "kernel $(uname -r)"
set_up
while read -r what name rest; do
	case $what in
	target)
		stop
		target=$name device=$rest
		# shellcheck disable=SC2086 # words
		case $device in
		-) serve "$name" || device= ;;
		kublk*) serve_kublk ${device#kublk} </dev/null || device= ;;
		esac
		[[ -z $device ]] || fill
		;;
	case)
		# shellcheck disable=SC2086 # words
		[[ -z $device ]] || measure "$target" "$name" $rest </dev/null
		;;
	profile)
		# shellcheck disable=SC2086 # words
		[[ -z $device ]] || profile "$target" "$name" $rest </dev/null
		;;
	esac
done <"$plan"
stop
