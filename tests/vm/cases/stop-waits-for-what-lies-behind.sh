# guest: mini
# rows-short: 2
# timeout: 240
# A stop while somebody reads and what lies behind the device is away: the reader holds the kernel's own lock, so that a
# command to stop does not come back. Requests are served until they end, then it stops, however long that takes: here
# longer than a command may. A server that gave up would leave a reader whom nobody answers, and itself in the kernel.
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

serve away
put "$dev" 0 a oflag=direct
echo 3 >/proc/sys/vm/drop_caches
touch hang
at_exit rm -f "$WORK/hang"
blockdev --rereadpt "$dev" &
reader=$!
wait_until 20 hanging
kill -TERM "$server"
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
