#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/flush.
set -euo pipefail
trace=/sys/kernel/tracing

modprobe ublk_drv
modprobe null_blk nr_devices=1 gb=1 queue_mode=2 submit_queues=1 memory_backed=1 irqmode=2 \
	completion_nsec=200000 cache_size=64
[[ $(</sys/block/nullb0/queue/write_cache) == 'write back' ]]
mkfs.ext4 -q -N 64 -E lazy_itable_init=0 /dev/nullb0
mkdir -p /backing /etc/ublk /served
mount -o commit=900 /dev/nullb0 /backing
# nothing is written back because of its age
sysctl -q vm.dirty_writeback_centisecs=0 vm.dirty_expire_centisecs=1000000

# dev_t DEV: as the filters of the kernel have it, 20 bits for the minor
dev_t() { echo $(((16#$(stat -c %t "$1") << 20) | 16#$(stat -c %T "$1"))); }

# on EVENT FILTER
on() {
	echo "$2" >"$trace/events/$1/filter"
	echo 1 >"$trace/events/$1/enable"
}

# traced CALL COMMAND...: CALL is the system call of the command that counts
traced() {
	local call=$1 event
	shift
	echo 0 >$trace/events/enable
	for event in block_rq_issue block_rq_complete; do
		on block/$event "dev == $(dev_t "$dev") || dev == $(dev_t /dev/nullb0)"
	done
	for event in enter exit; do
		# the one of dd, and not those of the shell
		if [[ $call == @(read|write) && $event == enter ]]; then
			on "syscalls/sys_enter_$call" "count == $bytes"
		else
			on "syscalls/sys_${event}_$call" 'common_pid != 0'
		fi
	done
	echo >$trace/trace
	echo 1 >$trace/tracing_on
	"$@"
	# what comes after the call has returned
	read -rt 0.05 <> <(:) || true
	echo 0 >$trace/tracing_on
}

# table TITLE CALL: what was traced
table() {
	awk -v title="$1" -v call="$2" -v served="$(mountpoint -x "$dev" | tr : ,)" \
		-f /dev/fd/3 $trace/trace 3<<-'AWK'
		# "dd-123 [000] d..1. 12.345678: block_rq_issue: 259,0 W 4096 () 8 + 8 none,0,0 [dd]"
		{ time = "" }
		match($0, / [0-9]+\.[0-9]+: /) {
			time = substr($0, RSTART + 1, RLENGTH - 3) * 1000
			n = split(substr($0, RSTART + RLENGTH), w, " ")
			pid = substr($0, 1, index($0, "[") - 1)
			sub(/ *$/, "", pid)
			sub(/.*-/, "", pid)
		}
		time == "" { next }
		# the first call that fits, and its return in the same process
		w[1] ~ "^sys_" call "\\(" && start == "" { start = time; caller = pid; next }
		w[1] == "sys_" call && w[2] == "->" && pid == caller && end == "" { end = time; next }
		w[1] == "block_rq_issue:" || w[1] == "block_rq_complete:" {
			for (plus = 3; plus < n && w[plus] != "+"; plus++)
				;
			# a flush ends at another sector than it began
			key = w[2] " " w[3] " " (w[3] ~ /^FF/ ? "" : w[plus - 1])
			if (w[1] == "block_rq_issue:") {
				n_rq++
				issued[n_rq] = time
				dev[n_rq] = w[2]; op[n_rq] = w[3]; sector[n_rq] = w[plus - 1]; len[n_rq] = w[plus + 1] / 2
				queue[key] = queue[key] " " n_rq
			} else if (split(queue[key], q, " ")) {
				completed[q[1]] = time
				sub(/^ [0-9]+/, "", queue[key])
			}
			moments[++n_moments] = time
		}
		function ms(t) { return sprintf("%9.3f", t - start) }
		END {
			if (start == "" || end == "") { print "no " call "() was traced" >"/dev/stderr"; exit 1 }
			printf "%s: %s() took %.3f ms\n", title, call, end - start
			# Times of both are in order, since the trace is.
			last = start
			for (i = 1; i <= n_moments + 1; i++) {
				m = i <= n_moments ? moments[i] : end
				if (m < start) continue
				if (m > end) m = end
				if (m - last > gap) { gap = m - last; gap_at = last }
				last = m
			}
			if (n_rq) printf "  %9s %9s  %-7s %-5s %10s %7s\n", "issued ms", "done ms", "device", "op", "sector", "KiB"
			for (i = 1; i <= n_rq; i++) {
				if (n_rq > 24 && i == 13) { printf "  %9s %d more\n", "...", n_rq - 24; i = n_rq - 11 }
				printf "  %s %9s  %-7s %-5s %10d %7.1f\n", ms(issued[i]),
					i in completed ? ms(completed[i]) : "never", dev[i] == served ? "served" : "backend",
					op[i], sector[i], len[i]
			}
			for (i = 1; i <= n_rq; i++) {
				k = (dev[i] == served ? "served " : "backend ") op[i]
				if (!(k in count)) kinds[++n_kinds] = k
				count[k]++; kib[k] += len[i]
			}
			for (i = 1; i <= n_kinds; i++)
				printf "  %-14s %5d requests %9.1f KiB\n", kinds[i], count[kinds[i]], kib[kinds[i]]
			printf "  largest gap without any of these events: %.3f ms, from %.3f ms on\n\n", gap, gap_at - start
		}
	AWK
}

bytes=$((256 << 10))
write_some() { dd if=/dev/urandom of="$1" bs=$bytes count=1 conv=notrunc,nocreat status=none; }

# trace_all NAME DEFINITION-LINE...
trace_all() {
	local name=$1 pid
	shift
	printf '%s\n' '[Device]' 'Size=64M' '[Queues]' 'Count=1' '[Backend]' "$@" >"/etc/ublk/$name.conf"
	ublkd serve "$name" >/tmp/log 2>&1 &
	pid=$!
	for _ in {1..200}; do
		dev=$(grep -o '/dev/ublkb[0-9]*$' /tmp/log | tail -n 1) && break
		read -rt 0.1 <> <(:) || true
	done
	[[ -b $dev ]] || { cat /tmp/log >&2; return 1; }
	mkfs.ext4 -q -N 64 -E lazy_itable_init=0 "$dev"
	mount -o commit=900 "$dev" /served
	head -c $bytes /dev/zero >/served/file
	sync
	printf '== %s\n\n' "$*"
	# through the page cache: nothing has to reach anybody
	traced write write_some /served/file
	table 'write' write
	traced fsync sync /served/file
	table 'fsync after it' fsync
	write_some /served/file
	echo >/served/new
	traced syncfs sync -f /served/file
	table 'syncfs after a write and a new file' syncfs
	write_some /served/file
	bytes=2 traced write dd if=<(echo 3) of=/proc/sys/vm/drop_caches status=none
	table 'drop_caches with dirty pages' write
	traced fsync sync /served/file
	table 'fsync after that' fsync
	echo 3 >/proc/sys/vm/drop_caches
	traced read dd if=/served/file of=/dev/null bs=$bytes status=none
	table 'read after drop_caches' read
	umount /served
	kill -TERM "$pid"
	wait "$pid"
}

printf '%s\n' "kernel $(uname -r); 256 KiB through ext4 on the served device; KiB of requests" ''
trace_all direct Type=file Path=/backing/direct Create=sparse DirectIO=yes
trace_all buffered Type=file Path=/backing/buffered Create=sparse DirectIO=no
trace_all disk Type=memory
