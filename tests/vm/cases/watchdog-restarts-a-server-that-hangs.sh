# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 180
# A server of which one thread of a queue does not turn, or nothing at all, is killed by systemd's watchdog and replaced:
# users see a pause and no error. What lies behind the device may take as long as it likes: that is no hang, but one
# line says so after SlowRequest=, and another one when it is over.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
cat >hangs.conf <<-E
	[Device]
	Size=16M
	[Queues]
	Count=2
	Depth=16
	[Backend]
	Type=file
	Path=$WORK/hangs.img
	Create=sparse
	[Fault]
	HangWhile=$WORK/hang
E
mkdir -p /run/systemd/system/ublk@hangs.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=6s\n' >/run/systemd/system/ublk@hangs.service.d/50-test.conf
at_exit rm -r /run/systemd/system/ublk@hangs.service.d
[[ ! -e /etc/ublkd.conf ]]
at_exit rm -f /etc/ublkd.conf
printf '[Log]\nSlowRequest=2s\n' >/etc/ublkd.conf
node=$(start_device hangs.conf)
seq=$(<"/sys/block/${node#/dev/}/diskseq")
show() { systemctl show -P "$1" ublk@hangs.service; }
messages() { journalctl --sync && journalctl -q -b -o cat "$@"; }
[[ $(show WatchdogUSec) == 6s ]]
# Idle is no hang, beat after beat.
begin=$SECONDS
past() { ((SECONDS >= begin + $1)); }
wait_until 30 past 20
is_live "$node"
[[ $(show NRestarts) == 0 ]]
pauses_begin "$node"

same_device() {
	[[ $(realpath /dev/ublk/hangs) == "$node" && $(<"/sys/block/${node#/dev/}/diskseq") == "$seq" ]]
	is_live "$node"
}

# A thread is in the kernel for ever, or as good as that: it stops when it leaves, for a tracer who does not go on.
pid=$(show MainPID)
tid=$(grep -lx 'ublkd-q1' /proc/"$pid"/task/*/comm)
tid=${tid%/comm}
tid=${tid##*/}
strace -o strace.out -p "$tid" 2>strace.err &
tracer=$!
at_exit end_quietly $tracer
wait_until 30 grep attached strace.err
event 'a thread hangs'
kill -STOP $tracer
barked() { [[ $(messages -u ublk@hangs.service | grep -c 'Watchdog timeout') == "$1" ]]; }
wait_until 60 barked 1 || fail "$(messages -u ublk@hangs.service)"
is_aborted() { [[ $(show ActiveState) != active || $(show MainPID) != "$pid" ]]; }
wait_until 30 is_aborted
# strace asks the kernel to hold the thread when it is to end, too
kill -KILL $tracer
wait_until 90 is_back ublk@hangs.service "$pid" 1 || fail "$(show ActiveState) $(show MainPID) $(show NRestarts)"
same_device
[[ $(messages UBLKD_DEVICE=hangs | grep -cx "a queue's thread does not turn any more") == 1 ]] ||
	fail "$(messages -u ublk@hangs.service)"
barked 1

# All of it.
pid=$(show MainPID)
event 'the process hangs'
kill -STOP "$pid"
wait_until 90 is_back ublk@hangs.service "$pid" 2 || fail "$(show ActiveState) $(show MainPID) $(show NRestarts)"
same_device
barked 2
[[ $(messages UBLKD_DEVICE=hangs | grep -c '^took over ublk device ') == 2 ]]
pass_time 300
pauses_end 'a server that hangs' 2

# What lies behind does not answer for longer than the watchdog would wait.
pid=$(show MainPID)
! messages UBLKD_DEVICE=hangs | grep -i slow || fail 'something was slow before'
touch hang
dd if=/dev/zero of="$node" bs=4096 seek=5 count=1 oflag=direct status=none 2>writer.err &
writer=$!
at_exit end_quietly $writer
at_exit rm -f "$WORK/hang"
since=$(awk '{ printf "%d", $1 * 1000000 }' /proc/uptime)
said_slow() {
	messages UBLKD_DEVICE=hangs PRIORITY=4 | grep -qx "1 request is with what lies behind the device for longer than "`
		`"\[Log\] SlowRequest=, one of them a write at byte 20480 on queue [01]"
}
wait_until 60 said_slow || fail "$(messages UBLKD_DEVICE=hangs)"
# pings go on
pinged() { (($(show WatchdogTimestampMonotonic) > since + 9000000)); }
wait_until 60 pinged
[[ $(show MainPID) == "$pid" && $(show NRestarts) == 2 ]]
! is_gone $writer || fail "the write has come back: $(<writer.err)"
rm hang
wait_until 30 is_gone $writer
wait $writer || fail "$(<writer.err)"
said_over() { messages UBLKD_DEVICE=hangs PRIORITY=5 | grep -qx 'no request is slow any more'; }
wait_until 60 said_over || fail "$(messages UBLKD_DEVICE=hangs)"
[[ $(messages UBLKD_DEVICE=hangs | grep -c 'SlowRequest=') == 1 ]]
[[ $(show MainPID) == "$pid" && $(show NRestarts) == 2 ]]
! kernel_log | grep -E "(I/O error|Buffer I/O).*${node#/dev/}" || fail "the kernel has seen errors"
stop_name hangs
[[ ! -e /run/ublkd/hangs && -z $(ls /sys/class/ublk-char) ]]
