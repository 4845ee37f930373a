# guest: mini
# timeout: 180
# timeout-long: 1800
# SIGKILL at each system call by which the server's main thread changes something, from its start to the end of its
# stop (each fourth in the short form). Whatever the dead one left, the next start removes, and finds the data that was
# flushed.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
cat >step.conf <<-E
	[Device]
	Size=16M
	[Backend]
	Type=file
	Path=$WORK/step.img
	Create=sparse
	[Queues]
	Count=2
	Depth=8
E
calls=io_uring_setup,io_uring_enter,io_uring_register,clone3,eventfd2,signalfd4,mkdirat,renameat,renameat2,unlinkat
calls+=,flock,ftruncate,fallocate,fsync,fdatasync,write,pwrite64,epoll_wait
is_ready() { grep -q ': info: ready: ' step.log; }
is_ready_or_gone() { is_ready || is_gone "$server"; }

# life CALL N: one life of a server that dies when it begins its Nth CALL; sets $status
life() {
	rm -f step.log
	# -D: the server stays our child
	strace -D -qq -o trace -e trace="$calls" ${1:+-e inject="$1:signal=KILL:when=$2"} ublkd serve step >step.log 2>&1 &
	server=$!
	echo "$server" >step.pid
	wait_until 60 is_ready_or_gone
	kill -TERM "$server" 2>/dev/null || true
	wait_until 60 is_gone "$server"
	status=0
	wait "$server" 2>/dev/null || status=$?
}

# What the last life took over when it died, kernels without an answer to that lose: said, and made anew.
errors() {
	local known='^$'
	[[ $VM_ROW == 2 ]] || known='which this kernel does not survive twice'
	grep error: step.log | grep -v "$known"
}

# after_it_all: the next start is like any other
after_it_all() {
	local n
	serve step
	! errors || fail "$1: $(<step.log)"
	has "$dev" 5 s iflag=direct
	n=$(find /sys/class/ublk-char -mindepth 1 | wc -l)
	((n == 1)) || fail "$1: $n devices in the kernel"
	[[ $(ls /run/ublkd/udev) == "${dev#/dev/}" ]] || fail "$1: properties of $(ls /run/ublkd/udev)"
	stop_server
	nothing_is_left
}

serve step
put "$dev" 5 s oflag=direct conv=fsync
stop_server
# "CALL N", as they come in a life that nobody cuts short
life ''
((status == 0))
mapfile -t steps < <(awk -F'(' '{ print $1, ++n[$1] }' trace)
grep -qx 'io_uring_enter 5' < <(printf '%s\n' "${steps[@]}")
# Kernels before 6.18 look for partitions within START_DEV, in a thread of the server. Killed there, the server may wait
# for that thread for ever, and it for a block that nobody reads any more: seen on 6.12.107, once with these stacks
# (io_wq_put_and_exit; disk_scan_partitions), and only when killed through strace. Nothing but a reboot helped, so on such
# a kernel no command is cut short, which leaves ADD, START, STOP and DEL in flight to row 2.
if [[ $VM_ROW != 2 ]]; then
	mapfile -t steps < <(printf '%s\n' "${steps[@]}" | grep -v '^io_uring_enter ')
fi
stride=$((VM_LONG ? 1 : 4)) n_deaths=0 removed=0 stopping=0
for ((i = VM_LONG ? 0 : RANDOM % stride; i < ${#steps[@]}; i += stride)); do
	read -r call n <<<"${steps[i]}"
	life "$call" "$n"
	# how often it waits and looks is not the same in each life
	((status == 137 || status == 0)) || fail "$call $n: status $status: $(<step.log)"
	n_deaths=$((n_deaths + (status == 137)))
	! is_ready || stopping=$((stopping + 1))
	! grep -q 'removing ublk device' step.log || removed=$((removed + 1))
	((n_deaths % 3 != 0)) || after_it_all "after $call $n"
done
after_it_all "after all steps"
echo "$n_deaths deaths at ${#steps[@]} steps, $stopping of them after it was ready; $removed times a device was removed"
((n_deaths >= 6 && stopping >= 1 && removed >= 1))
