# guest: mini
# rows-short: 1
# timeout: 90
# `ublkd serve --config FILE` by hand, without systemd and udev: any path will do, messages come on stderr with their
# levels, Ctrl-C ends it with status 0. A stderr that is closed, or that nobody reads, stops neither the service nor
# its end.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
mkdir 'a place'
cat >'a place/hand.conf' <<-E
	[Device]
	Size=4M
	[Backend]
	Type=memory
	[Queues]
	Count=1
E
modprobe ublk_drv
at_exit stop_name hand
is_up() { dev=$(device_of hand); }
# begins [ARG...]: as a shell in a terminal does, with signals as they are by default
begins() {
	env --default-signal=INT ublkd serve "$@" >hand.out 2>hand.log &
	server=$!
	echo "$server" >hand.pid
	wait_until 30 is_up
	is_up
}

# what is said
begins --config 'a place/hand.conf'
[[ $(ublkctl status hand --json | jq -r .definition) == "a place/hand.conf" ]]
put "$dev" 3 a oflag=direct
has "$dev" 3 a iflag=direct
kill -INT "$server"
end_server 0
diff - hand.log <<-E
	hand: notice: nobody would keep the data of this device if its server died, as systemd does: it is not recoverable
	hand: warning: there is no /dev/ublk/hand, udev does not run here; use $dev
	hand: info: ready: $dev
E
[[ ! -s hand.out ]]
nothing_is_left

# what is said at other levels
begins -c "$WORK/a place/hand.conf" --log-level=error
stop_server
[[ ! -s hand.log ]]
begins -c "$WORK/a place/hand.conf" -l debug
stop_server
expect_status 0 grep -x "hand: info: ready: $dev" hand.log

# no stderr at all; its number must not become that of a device or an image
at_exit rm -f "$WORK/hand.pid"
env --default-signal=INT ublkd serve -c 'a place/hand.conf' 2>&- &
server=$!
echo "$server" >hand.pid
wait_until 30 is_up
is_up
put "$dev" 3 b oflag=direct
has "$dev" 3 b iflag=direct
[[ $(readlink "/proc/$server/fd/2") != *ublk* ]]
stop_server
nothing_is_left

# a pipe that is full and that nobody reads
mkfifo pipe
exec 7<>pipe
timeout 5 head -c 1M /dev/zero >pipe || true # as much as it takes
ublkd serve -c 'a place/hand.conf' -l debug 2>pipe 7<&- &
server=$!
echo "$server" >hand.pid
wait_until 30 is_up
is_up
# sixty reloads have more to say than there is room for
for ((i = 0; i < 60; i++)); do kill -HUP "$server"; done
put "$dev" 3 c oflag=direct
has "$dev" 3 c iflag=direct
stop_server
exec 7<&-
nothing_is_left
