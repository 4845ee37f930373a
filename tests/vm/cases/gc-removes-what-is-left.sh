# guest: mini
# rows-short: 2
# timeout: 240
# ublkctl gc: what a killed server left goes, in the kernel and in /run; what is served, in use or another program's
# stays, unless it is asked for by name.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"

# define MODE
define() {
	cat >lost.conf <<-E
		[Device]
		Size=16M
		[Backend]
		Type=file
		Path=$WORK/lost.img
		Create=sparse
		[Queues]
		Depth=16
		[Recovery]
		Mode=$1
	E
}
gc() { ublkctl gc "$@"; }
state() { ublkctl list --json | jq -r '.[] | select(.name == "lost") | .kernel_state'; }
is_not_live() { [[ $(state) != live ]]; }
nothing_to_do() { [[ $(gc) == "there is nothing to remove" && $(gc --json | jq length) == 0 ]]; }

modprobe ublk_drv
nothing_to_do

for mode in none reissue; do
	define "$mode"
	serve lost
	# served: not worth a word, and not to be had by force
	nothing_to_do
	expect_status 75 gc --force lost | grep -F "kept: process $server serves it"
	put "$dev" 1 a oflag=direct,dsync
	kill_server
	wait_until 60 is_not_live
	[[ $(gc --dry-run --json | jq -r '.[] | "\(.name) \(.action)"') == "lost would-remove" ]]
	[[ -e /run/ublkd/lost/state && -e /sys/class/ublk-char/ublkc${dev#/dev/ublkb} ]]
	gc | grep -E "^ublk device ${dev#/dev/ublkb} \(lost, (dead|quiesced)\): removed: it had no server$"
	nothing_is_left
	nothing_to_do
	# and the name is free
	serve lost
	has "$dev" 1 a iflag=direct
	stop_server
done

# in use: its reader waits for a server that may come, until somebody gives it up
serve lost
exec 9<>"$dev"
kill_server
wait_until 60 is_not_live
dd if="$dev" of=/dev/null bs=4096 count=1 iflag=direct 2>read.log 9<&- &
reader=$!
gc | tee out
grep -E "^ublk device ${dev#/dev/ublkb} \(lost, quiesced\): kept: open in .*ublkctl gc --force lost$" out
[[ $(gc --json | jq -r '.[0].action') == kept ]]
[[ $(state) == quiesced ]]
[[ -e /proc/$reader ]]
gc --force lost | grep -F 'removed: '
wait_until 30 is_gone "$reader"
expect_status 1 wait "$reader"
grep -E 'Input/output error|No such device' read.log
exec 9<&-
wait_until 30 nothing_is_left
# what was kept, a server takes over
serve lost
exec 9<>"$dev"
kill_server
wait_until 60 is_not_live
gc | grep -F ': kept: '
serve lost 9<&-
put "$dev" 1 b oflag=direct,dsync
has "$dev" 1 b iflag=direct
exec 9<&-
stop_server

# another program's, and one whose mark is all that is left of it
theirs=$(stranger)
ours=$(stranger lost)
gc | tee out
grep -E "^ublk device $theirs \(dead\): kept: it is another program's; .*gc --force ublkb$theirs$" out
grep -E "^ublk device $ours \(lost, dead\): removed: " out
[[ $(find /sys/class/ublk-char -mindepth 1 -printf '%f\n') == "ublkc$theirs" ]]
[[ $(gc --json | jq -r '.[] | "\(.name) \(.id) \(.action)"') == "null $theirs kept" ]]
expect_status 1 gc --force lost 2>/dev/null
gc --force "ublkb$theirs" | grep -F ': removed: '

# files of no device
mkdir -p /run/ublkd/gone
echo UBLK_NAME=gone >/run/ublkd/udev/ublkb77
gc | tee out
grep '^/run/ublkd/gone: removed: ' out
grep '^/run/ublkd/udev/ublkb77: removed: ' out
nothing_is_left
nothing_to_do
expect_status 77 setpriv --reuid=65534 --clear-groups ublkctl gc
