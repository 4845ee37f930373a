# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 300
# What OnGiveUp= says of devices of the manager. Of one that it cannot take over, while it goes on with the others; and of
# all, when it dies more often than its unit allows: ublk-reap@.manager looks at them then. What nobody uses goes, what is
# kept waits for the next start, without loss, what is not fails. What was only in memory has gone with systemd's store,
# so nobody waits for it. A service of its own for one device goes on.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/manage.sh"
. "$VM_LIB/service.sh"
unit=ublkd.service
at_exit remove_definitions
# define NAME TYPE SIZE [LINE...] of manage.sh, and what becomes of it
for giveup in keep fail; do
	for use in used free; do
		define $giveup-$use file 16M "Path=$WORK/$giveup-$use.img" Create=sparse
		printf '[Recovery]\nOnGiveUp=%s\n' $giveup >>/etc/ublk/$giveup-$use.conf
	done
done
define memory memory 16M
cat >own.conf <<-X
	[Device]
	Size=16M
	[Backend]
	Type=file
	Path=$WORK/own.img
	Create=sparse
X
own=$(start_device own.conf)
mkdir -p /run/systemd/system/$unit.d
printf '[Unit]\nStartLimitBurst=2\n' >/run/systemd/system/$unit.d/limit.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/$unit.d
systemctl daemon-reload
at_exit systemctl stop $unit
systemctl start $unit
all_run() { [[ $(unit_has $unit StatusText) == '5 devices: 5 running'* ]]; }
wait_until 30 all_run || fail "$(unit_has $unit StatusText)"

kept=$(realpath -e /dev/ublk/keep-used)
mkfs.ext4 -q "$kept"
mkdir mnt
mount "$kept" mnt
at_exit umount -q -l "$WORK/mnt"
echo before >mnt/before
sync -f mnt
id=$(mount_id "$WORK/mnt")
exec 7<>/dev/ublk/memory
# read_on NAME: until there is an error
declare -A readers
read_on() {
	local node
	node=$(realpath -e "/dev/ublk/$1")
	(while dd if="$node" of=/dev/null bs=4096 count=1 iflag=direct 2>"$1.log"; do :; done) 5>&- 7>&- &
	readers[$1]=$!
	at_exit end_quietly $!
}
# has_got_an_error NAME
has_got_an_error() {
	wait_until 30 is_gone "${readers[$1]}" || fail "the reader of $1 waits"
	grep -E 'Input/output error|No such (device|file)' "$1.log"
}
said() {
	journalctl --sync
	journalctl -q -o cat -u $unit -u ublk-reap@.manager.service --since "@$since" UBLKD_DEVICE="$1" | grep -E "$2"
}
journal() { journalctl -q --no-pager --since "@$since" -u 'ublk*'; }
state() { ublkctl list --json | jq -r --arg name "$1" '.[] | select(.name == $name) | .kernel_state'; }
kept_by="is mounted on $WORK/mnt: its requests wait.*systemctl reload-or-restart ublkd.service.*gc --force keep-used"

# ---- one device of a manager that goes on ----

exec 5<>/dev/ublk/fail-used
read_on fail-used
echo waiting >mnt/waiting
since=$EPOCHREALTIME
for name in keep-used fail-used; do
	mv $name.img $name.away
done
pid=$(unit_has $unit MainPID)
systemctl kill --signal=KILL --kill-whom=main $unit
three_run() { [[ $(unit_has $unit StatusText) == '5 devices: 3 running, 2 failed'* ]] && is_back $unit "$pid"; }
wait_until 60 three_run || fail "$(systemctl status $unit)"
wait_until 30 said fail-used 'removed ublk device .*OnGiveUp=fail; whoever still uses it gets errors' || fail "$(journal)"
wait_until 30 said keep-used "$kept_by" || fail "$(journal)"
has_got_an_error fail-used
exec 5>&-
[[ $(state keep-used) == quiesced ]]
for name in keep-used fail-used; do
	mv $name.away $name.img
done
systemctl reload-or-restart $unit
all_run || fail "$(unit_has $unit StatusText)"
sync -f mnt
[[ $(realpath -e /dev/ublk/keep-used) == "$kept" && $(mount_id "$WORK/mnt") == "$id" ]]

# ---- all of them ----

exec 5<>/dev/ublk/fail-used
read_on fail-used
read_on memory
echo dirty >mnt/dirty
since=$EPOCHREALTIME
is_failed() { [[ $(unit_has $unit ActiveState) == failed ]]; }
is_back_or_failed() { is_failed || { is_back $unit "$pid" && all_run; }; }
for ((i = 0; i < 3; i++)); do
	! is_failed || break
	pid=$(unit_has $unit MainPID)
	systemctl kill --signal=KILL --kill-whom=main $unit
	wait_until 60 is_back_or_failed || fail "$(systemctl status $unit)"
done
wait_until 30 is_failed
has_reaped() {
	[[ $(unit_has ublk-reap@.manager.service ActiveState) == inactive ]] && said "$1" 'has no server any more'
}
for name in keep-used keep-free fail-used fail-free memory; do
	wait_until 90 has_reaped $name || fail "nothing is said of $name: $(journal)"
done
[[ $(unit_has ublk-reap@.manager.service Result) == success ]]
said keep-used "$kept_by"
said keep-free 'removed ublk device .*nobody uses it'
said fail-used 'removed ublk device .*OnGiveUp=fail; whoever still uses it gets errors'
said fail-free 'removed ublk device .*OnGiveUp=fail'
said memory 'removed ublk device .*its memory has gone with the server; whoever still uses it gets errors'
has_got_an_error fail-used
has_got_an_error memory
exec 5>&- 7>&-
[[ $(state keep-used) == quiesced && $(realpath -e /dev/ublk/keep-used) == "$kept" ]]
only_two() { [[ $(find /sys/class/ublk-char -mindepth 1 | wc -l) == 2 ]]; }
wait_until 30 only_two || fail "$(ublkctl list)"
[[ $(state own) == live ]]
is_live "$own"

# repaired: it goes on with the one, and makes the others anew
rm /run/systemd/system/$unit.d/limit.conf
systemctl daemon-reload
systemctl reset-failed $unit
systemctl start $unit
wait_until 30 all_run || fail "$(unit_has $unit StatusText)"
[[ $(realpath -e /dev/ublk/keep-used) == "$kept" && $(mount_id "$WORK/mnt") == "$id" ]]
sync -f mnt
umount mnt
e2fsck -fn "$kept"
mount "$kept" mnt
[[ $(cat mnt/before mnt/waiting mnt/dirty) == $'before\nwaiting\ndirty' ]]
umount mnt
# there is nothing to reap of one that runs
ublkd reap .manager
all_run
systemctl stop $unit
stop_name own
left=$(find /run/ublkd -mindepth 1 ! -path /run/ublkd/udev; ls /sys/class/ublk-char)
[[ -z $left ]] || fail "left behind: $left"
