# guest: mini
# rows-short: 2
# timeout: 240
# A stop while somebody reads and what lies behind the device is away: the reader holds the kernel's own lock, for which
# a command to stop would wait, and the server for that. Requests are served until they end, then it stops, however
# long that takes: here longer than a command may. And SIGKILL ends it at any time.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
cat >away.conf <<-E
	[Device]
	Size=16M
	[Backend]
	Type=memory
	[Queues]
	Count=1
	[Fault]
	HangWhile=$WORK/hang
E
hanging() { (($(count away in_flight) > 0)); }

is_told() { grep -q "is open in blockdev" away.log; }
at_exit rm -f "$WORK/hang"

# begin: a server that is told to stop while somebody reads
begin() {
	serve away
	echo 3 >/proc/sys/vm/drop_caches
	touch hang
	blockdev --rereadpt "$dev" &
	reader=$!
	wait_until 20 hanging
	kill -TERM "$server"
	wait_until 20 is_told
}

begin
# more than the minute that a command has
if wait_until 70 is_gone "$server" 2>/dev/null; then
	fail "it is gone: $(<away.log)"
fi
hanging || fail "nobody waits any more"
! grep -E 'error:|may need a reboot' away.log || fail "it gave up"
rm hang
wait "$reader"
wait_until 30 is_gone "$server"
wait "$server" || fail "$(<away.log)"
nothing_is_left

begin
kill -KILL "$server"
wait_until 20 is_gone "$server"
wait "$reader" || true
rm hang
serve away
stop_server
nothing_is_left
