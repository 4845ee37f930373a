# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 120
# systemctl reload puts the [Log] Level= of ublkd.conf in force, and touches nothing else. An error
# in the file leaves the level as it was, and fails the reload.
. "$VM_LIB/common.sh"
cat >"$WORK/reload.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=memory
	[Queues]
	Depth=16
E
[[ ! -e /etc/ublkd.conf ]]
at_exit rm -f /etc/ublkd.conf
head -c 4096 /dev/urandom >"$WORK/want"
show() { systemctl show -P "$1" ublk@reload.service; }
messages() {
	journalctl --sync
	journalctl -b -o cat UBLKD_DEVICE=reload
}
begin() {
	node=$(start_name reload)
	pid=$(show MainPID)
	status=$(show StatusText)
	dd if="$WORK/want" of="$node" bs=4096 oflag=direct status=none
}
# reload RESULT: what the unit says of itself when it is done
reload() {
	systemctl reload ublk@reload.service
	[[ $(show ActiveState) == active && $(show StatusText) == "$status; reload: $1" ]] ||
		fail "$(show ActiveState): $(show StatusText)"
	is_as_before
}
is_as_before() {
	[[ $(show MainPID) == "$pid" && $(show NRestarts) == 0 && $(realpath -e /dev/ublk/reload) == "$node" ]]
	dd if="$node" bs=4096 count=1 iflag=direct status=none | cmp - "$WORK/want"
}
# A device in use that is to stop is worth a notice, and is told in the status at every level.
hold_and_stop() {
	local opener
	sleep infinity 9<"$node" &
	opener=$!
	at_exit kill "$opener"
	wait_until 30 is_open "$opener"
	systemctl stop --no-block ublk@reload.service
	wait_until 30 waits_for "open in sleep (pid $opener)" || fail "$(show StatusText)"
	kill "$opener"
	wait_until 30 has_ended
}
is_open() { [[ $(<"/proc/$1/comm") == sleep && /proc/$1/fd/9 -ef $node ]]; }
waits_for() { [[ $(show StatusText) == "Stopping: waiting for the device to be free: $1" ]]; }
has_ended() { [[ $(show ActiveState) == inactive ]]; }
n_notices() { messages | grep -c 'is open in sleep (pid [0-9]*); serving it until that ends' || true; }

install_definition "$WORK/reload.conf"
begin
printf '[Log]\nLevel=error\n' >/etc/ublkd.conf
reload 'nothing to change'
printf '[Log]\nLevel=loud\n' >/etc/ublkd.conf
expect_status 1 systemctl reload ublk@reload.service
is_as_before
messages | grep -F '/etc/ublkd.conf:2: [Log] Level=: "loud" '
hold_and_stop
[[ $(n_notices) == 0 ]] || fail "$(messages)"

# and down again
printf '[Log]\nLevel=error\n' >/etc/ublkd.conf
begin
printf '[Log]\nLevel=notice\n' >/etc/ublkd.conf
reload 'nothing to change'
hold_and_stop
[[ $(n_notices) == 1 ]] || fail "$(messages)"
[[ $(messages | grep -c 'ready: ') == 1 ]] || fail "$(messages)"
