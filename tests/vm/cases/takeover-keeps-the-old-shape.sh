# guest: mini
# rows-short: 1
# timeout: 150
# A server that takes over a device in use gives it the shape that it had, whatever has become of its definition and of
# what is in /run. It takes what can change, names what cannot, and where it cannot go on it says why and touches
# nothing: users wait for a server that can.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
scratch_fs
img=$WORK/fs/shape.img
# definition DEVICE-LINES BACKEND-LINES QUEUE-LINES OTHER-LINES
definition() {
	printf '[Device]\nSize=16M\n%b\n[Backend]\n%b\n[Queues]\n%b\n%b\n' "$@" >shape.conf
}
plain() {
	definition 'LogicalBlockSize=512\nSerial=old' "Type=file\nPath=$img\nCreate=sparse" 'Count=1\nDepth=8\nMaxIO=64K' \
		'[Recovery]\nOnGiveUp=keep'
}
seq_of() { cat "/sys/block/${dev#/dev/}/diskseq"; }
# old_shape: nothing of what a user can see has changed
old_shape() {
	[[ $(device_of shape) == "$node" && $(seq_of) == "$seq" && $(blockdev --getsize64 "$node") == $((16 << 20)) ]]
	[[ $(queue_attr "$node" logical_block_size) == 512 && $(blockdev --getro "$node") == 0 ]]
	[[ $(queue_attr "$node" nr_requests) == 8 && $(queue_attr "$node" max_hw_sectors_kb) == 64 ]]
	[[ $(find "/sys/block/${node#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
	n=$((n + 1))
	put /dev/fd/9 "$n" n oflag=direct
	has "$node" "$n" n iflag=direct
	has "$node" 0 s iflag=direct
}
n=0
# says TEXT: once, and all of the line behind the level
says() { [[ $(grep -cxF -e "shape: $1" shape.log) == 1 ]] || fail "'$1' is not in: $(<shape.log)"; }
# next: the server is killed, and the next one takes over
next() {
	kill_server
	rm -f shape.log
	serve shape
	says "notice: took over ublk device ${node#/dev/ublkb}"
}
# begin_waiting: the server is killed, and somebody comes who has to wait
begin_waiting() {
	kill_server
	dd if="$node" bs=4096 count=1 iflag=direct of=waiter.got status=none 2>waiter.err &
	waiter=$!
	at_exit end_quietly "$waiter"
}
# cannot STATUS: the start fails, and all is as it was
cannot() {
	rm -f shape.log
	serve_begin shape
	end_server "$1"
	[[ $(seq_of) == "$seq" && $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" ]]
	! is_gone "$waiter" || fail "who should wait got: $(<waiter.err)"
}
# end_waiting: with a server that can, who waited never knows
end_waiting() {
	rm -f shape.log
	serve shape
	wait_until 30 is_gone "$waiter"
	wait "$waiter" || fail "who waited got: $(<waiter.err)"
	[[ $(tr -d s <waiter.got | wc -c) == 0 ]]
	old_shape
}

# digest_of FILE: FNV-1a of its text and a NUL
digest_of() {
	local -i h=0xcbf29ce484222325 byte
	for byte in $(od -An -v -t u1 "$1") 0; do
		h=$(((h ^ byte) * 0x100000001b3))
	done
	printf '%016x' "$h"
}

plain
serve shape
node=$dev
seq=$(seq_of)
exec 9<>"$node"
put /dev/fd/9 0 s oflag=direct
old_shape

# ---- another definition ----

definition 'LogicalBlockSize=4096\nReadOnly=yes\nSerial=old' "Type=file\nPath=$img.other\nCreate=sparse" \
	'Count=2\nDepth=16\nMaxIO=128K' '[Recovery]\nOnGiveUp=keep\nMode=queue'
next
says 'warning: the device in use goes on with its old definition: LogicalBlockSize=, ReadOnly=, Path=, Count=, Depth=, '`
	`'MaxIO=, [Recovery] Mode= need a stop and a start'
[[ ! -e $img.other ]]
old_shape

definition 'LogicalBlockSize=512\nSerial=old' 'Type=memory' 'Count=1\nDepth=8\nMaxIO=64K' '[Recovery]\nOnGiveUp=keep'
next
says 'warning: the device in use goes on with its old definition: Type= need a stop and a start'
old_shape

direct() { (((8#$(awk '$1 == "flags:" { print $2 }' "$(image_fd)") & 8#40000) != 0)); }
image_fd() {
	local f
	for f in "/proc/$server/fd/"*; do
		[[ $(readlink "$f") != "$img" ]] || echo "${f/fd/fdinfo}"
	done
}
plain
next
direct
definition 'LogicalBlockSize=512\nSerial=new\nDescription=other words' \
	"Type=file\nPath=$img\nCreate=sparse\nDirectIO=no" 'Count=1\nDepth=8\nMaxIO=64K' \
	'[Recovery]\nOnGiveUp=fail\n[Limits]\nWriteIOPS=1000'
next
[[ $(wc -l <shape.log) == 2 ]] || fail "more is said than needed: $(<shape.log)"
! direct || fail 'DirectIO=no was not taken'
grep -qx 'UBLK_SERIAL=new' "/run/ublkd/udev/${node#/dev/}" || fail "$(<"/run/ublkd/udev/${node#/dev/}")"
for line in 'Description=other words' OnGiveUp=fail WriteIOPS=1000 Depth=8; do
	grep -qx "$line" /run/ublkd/shape/definition || fail "no $line in $(</run/ublkd/shape/definition)"
done
old_shape

sed -i 's/^Size=.*/Size=32M/' shape.conf
next
says 'notice: the device keeps its size for now: reload the service for the new Size='
old_shape

# with errors, and none at all
plain
echo 'Dept=8' >>shape.conf
next
grep -qE '^shape: error: /etc/ublk/shape.conf:[0-9]+: .*Dept' shape.log || fail "$(<shape.log)"
says 'warning: going on with the definition that shape had before its files were changed'
old_shape
kill_server
rm -f shape.log /etc/ublk/shape.conf
ublkd serve shape >shape.log 2>&1 9<&- &
server=$!
echo "$server" >shape.pid
wait_until 30 _has_answered shape
says 'error: there is no definition of shape: make /etc/ublk/shape.conf, see ublk.conf(5)'
says 'warning: going on with the definition that shape had before its files were changed'
old_shape
plain

# ---- what lies behind ----

begin_waiting
cp --sparse=always "$img" whole.img
truncate -s 8M "$img"
cannot 78
says "error: $img has 8M, less than the 16M of its device, which is in use"
mv "$img" "$img.away"
cannot 78
says "error: $img is gone, with the data of a device that is in use: put it back"
[[ ! -e $img ]]
mv "$img.away" "$img"
cp --sparse=always whole.img "$img"
end_waiting

# ---- what is in /run ----

begin_waiting
cp -r /run/ublkd/shape saved
echo 'Depth=9' >>/run/ublkd/shape/definition
cannot 78
says "error: ublk device ${node#/dev/ublkb} waits for a server, but its definition in /run/ublkd/shape is damaged: give "`
	`'the device up with "ublkctl gc --force shape"'
# cut short, and nothing that tells so but the state
sed '/^# digest/d' saved/definition | head -n -1 >/run/ublkd/shape/definition
cannot 78
cp saved/definition /run/ublkd/shape/
end_waiting

# A server that died between the two files: the new definition, and the state of the old one.
begin_waiting
sed -i 's/^DIGEST=.*/DIGEST=0123456789abcdef/' /run/ublkd/shape/state
end_waiting

# An older version knew fewer keys, and its definition and digest are without them.
begin_waiting
sed -i '/^BatchIO=/d; /^BufferMemory=/d; /^PollMicroseconds=/d; /^# digest/d' /run/ublkd/shape/definition
sed -i "s/^DIGEST=.*/DIGEST=$(digest_of /run/ublkd/shape/definition)/" /run/ublkd/shape/state
end_waiting
grep -qx BatchIO=auto /run/ublkd/shape/definition || fail "$(</run/ublkd/shape/definition)"

begin_waiting
cp -r /run/ublkd/shape saved2
head -c 20 saved2/state >/run/ublkd/shape/state
for ((i = 0; i < 2; i++)); do
	cannot 75
	says "error: ublk device ${node#/dev/ublkb} carries the mark of shape, but what its server knew of it is lost: see "`
		`"who uses it, and give it up with \"ublkctl gc --force ${node#/dev/}\""
done
cp saved2/state /run/ublkd/shape/
end_waiting

# ---- the server before is not quite gone ----

# Somebody has a descriptor of the char device from it, as a child of the process would.
char=$(find "/proc/$server/fd" -lname "/dev/ublkc${node#/dev/ublkb}" -printf '%f\n' | head -n 1)
sleep infinity 9<&- &
holder=$!
at_exit end_quietly "$holder"
gdb -nx -batch -p "$holder" -ex "print (int)syscall(438, (int)syscall(434, $server, 0), $char, 0)" >gdb.log 2>&1 </dev/null
find "/proc/$holder/fd" -lname "/dev/ublkc${node#/dev/ublkb}" | grep -q . || fail "gdb: $(<gdb.log)"
kill_server
rm -f shape.log
serve_begin shape
waits() {
	grep -qxF "shape: notice: waiting for the end of the server that had ublk device ${node#/dev/ublkb}: its char device is \
open in sleep (pid $holder)" shape.log
}
wait_until 30 waits || fail "$(<shape.log)"
! is_gone "$server" || fail "$(<shape.log)"
kill "$holder"
wait_until 60 grep 'ready: ' shape.log || fail "$(<shape.log)"
old_shape

# ---- the end: all that was not taken counts with the next start ----

sed -i 's/^Depth=.*/Depth=16/' shape.conf
next
old_shape
exec 9<&-
stop_server
rm shape.log
serve shape
[[ $(queue_attr "$dev" nr_requests) == 16 ]]
has "$dev" 0 s iflag=direct
stop_and_look "$dev"

# By hand nobody keeps the memory of a memory device for the next server.
definition '' 'Type=memory' 'Count=1' ''
rm shape.log
serve shape
says 'notice: nobody would keep the data of this device if its server died, as systemd does: it is not recoverable'
put "$dev" 0 m oflag=direct
kill_server
[[ $( (ublkctl status shape --json || true) | jq -r .state) == dead ]]
rm shape.log
serve shape
expect_status 1 grep 'took over' shape.log
[[ $(head -c 16M "$dev" | tr -d '\0' | wc -c) == 0 ]]
stop_and_look "$dev"
