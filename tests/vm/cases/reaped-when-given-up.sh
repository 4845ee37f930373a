# guest: full
# rows-short: 2
# timeout: 300
# A server that died and cannot be started again: what becomes of its device. One that nobody uses goes; one in use
# stays for the administrator, who repairs the cause, or goes, as OnGiveUp= says. The same each time, and when it is
# the limit of starts that ends it.
. "$VM_LIB/common.sh"

# define GIVEUP
define() {
	cat >"$WORK/given.conf" <<-E
		[Device]
		Size=64M
		[Backend]
		Type=file
		Path=$WORK/given.img
		Create=sparse
		[Recovery]
		Mode=reissue
		OnGiveUp=$1
	E
	install_definition "$WORK/given.conf"
}
state() { ublkctl list --json | jq -r '.[] | select(.name == "given") | .kernel_state'; }
is_failed() { [[ $(systemctl is-failed ublk@given.service) == failed ]]; }
is_reaped() { is_failed && [[ $(systemctl show -P ActiveState ublk-reap@given.service) == inactive ]] && said "$1"; }
said() { journalctl -q -o cat -u ublk@given.service --since "@$since" | grep -E "$1"; }
nothing_is_left() { [[ ! -e /run/ublkd/given && -z $(find /sys/class/ublk-char -mindepth 1) ]]; }

start() {
	systemctl reset-failed ublk@given.service 2>/dev/null || true
	start_name given
	dev=$(device_of given)
}
# kill_for_good SAID: the server dies, and the image that it needs is away
kill_for_good() {
	since=$EPOCHREALTIME
	mv "$WORK/given.img" "$WORK/away.img"
	systemctl kill --signal=KILL --kill-whom=main ublk@given.service
	wait_until 60 is_reaped "$1" || {
		journalctl -q --no-pager --since "@$since" -u 'ublk*'
		fail "not reaped"
	}
	mv "$WORK/away.img" "$WORK/given.img"
}

# nobody uses it: twice, as the second must not find the work of the first done
for giveup in keep fail; do
	define "$giveup"
	start
	kill_for_good 'removed ublk device'
	nothing_is_left
done

# kept while it is mounted; what was written and not yet synced is written when there is a server again
define keep
start
mkfs.ext4 -q "$dev"
mkdir mnt
mount "$dev" mnt
at_exit umount -q "$WORK/mnt"
echo before >mnt/before
sync -f mnt
echo dirty >mnt/dirty
for round in 1 2; do
	kill_for_good "has no server any more and is mounted on $WORK/mnt.*systemctl start ublk@given.service.*gc --force given"
	[[ $(state) == quiesced ]]
	ublkctl gc | grep -F 'kept: mounted on'
	start
	[[ $(state) == live ]]
	echo "$round" >"mnt/round.$round"
	sync -f mnt
done
umount mnt
e2fsck -fn "$dev"
mount "$dev" mnt
[[ $(cat mnt/before mnt/dirty mnt/round.*) == $'before\ndirty\n1\n2' ]]
umount mnt

# the limit of starts
mkdir -p /run/systemd/system/ublk@given.service.d
printf '[Unit]\nStartLimitBurst=2\n' >/run/systemd/system/ublk@given.service.d/limit.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/ublk@given.service.d
systemctl daemon-reload
exec 9<>"$dev"
since=$EPOCHREALTIME
is_other() { [[ $(systemctl show -P MainPID ublk@given.service) != "$pid" && $(state) == live ]]; }
for ((i = 0; i < 3; i++)); do
	is_failed && break
	pid=$(systemctl show -P MainPID ublk@given.service)
	systemctl kill --signal=KILL --kill-whom=main ublk@given.service
	wait_until 60 eval 'is_other || is_failed'
done
wait_until 60 is_reaped 'has no server any more and is open in'
[[ $(state) == quiesced ]]
rm /run/systemd/system/ublk@given.service.d/limit.conf
systemctl daemon-reload
start
exec 9<&-

# failed while somebody waits for it
systemctl stop ublk@given.service
define fail
start
exec 9<>"$dev"
(while dd if="$dev" of=/dev/null bs=4096 count=1 iflag=direct 2>dd.log; do :; done) &
reader=$!
kill_for_good 'removed ublk device .*OnGiveUp=fail'
wait_until 30 is_gone "$reader"
grep -E 'Input/output error|No such (device|file)' dd.log
exec 9<&-
wait_until 30 nothing_is_left
# neither of these is anything to reap
ublkd reap given
ublkd reap nonsense
ublkd reap --shutdown
start
ublkd reap given
ublkd reap --shutdown
[[ $(state) == live ]]
systemctl stop ublk@given.service
nothing_is_left
