# guest: mini
# rows-short: 1
# timeout: 90
# A server died whose device cannot be taken over, and its definition has errors by now: the next one cannot start, and
# what is known of the device is still known when the definition is good again. Then the dead device is removed.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
cat >state.conf <<-X
	[Device]
	Size=16M
	[Recovery]
	Mode=none
	[Backend]
	Type=file
	Path=$WORK/state.img
	Create=sparse
X
serve state
old=$dev
put "$dev" 5 s oflag=direct conv=fsync
# it cannot go as long as somebody has it open
exec 9<"$dev"
kill_server
state=$(</run/ublkd/state/state)
[[ -n $state ]]
echo 'Colour=green' >>/etc/ublk/state.conf
for ((i = 0; i < 2; i++)); do
	expect_status 78 ublkd serve state 9<&- 2>state.log
	grep -F 'Colour=' state.log
	[[ $(</run/ublkd/state/state) == "$state" ]] || fail "the state has changed: $(<state.log)"
done
serve state
[[ $dev != "$old" ]]
grep "removing ublk device ${old#/dev/ublkb}, which a server that died has left" state.log || fail "$(<state.log)"
has "$dev" 5 s iflag=direct
exec 9<&-
stop_server
only_none() { [[ -z $(ls /sys/class/ublk-char) ]]; }
wait_until 20 only_none
nothing_is_left
