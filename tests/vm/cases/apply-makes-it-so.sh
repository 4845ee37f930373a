# guest: full
# rows-short: 3
# timeout: 240
# ublkctl apply makes what runs what the files say: start, reload, stop and start, stop, the manager; a second run has
# nothing to do. What is in use is not stopped, and what says Autostart=no is left alone.
. "$VM_LIB/common.sh"
mkdir -p /etc/ublk
at_exit rm -rf /etc/ublk
# put NAME [LINE...]: a small device
put() {
	printf '[Device]\nSize=4M\n[Backend]\nType=null\n' >"/etc/ublk/$1.conf"
	(($# < 2)) || printf '%s\n' "${@:2}" >>"/etc/ublk/$1.conf"
}
# does TEXT: the actions of a run are these, by name
does() {
	local got
	ublkctl apply --dry-run --json >plan 2>complaints || true
	got=$(jq -r '[.devices[] | select(.action != "nothing") | .name + "=" + .action] | join(" ")' plan)
	[[ $got == "$1" ]] || fail "to be done: $got, not $1: $(<plan)"
}
nothing_is_left() { [[ $(ublkctl apply) == 'nothing to do' ]]; }
at_exit systemctl stop ublk@one.service ublk@two.service ublkd.service
put one
put two
put managed '[Boot]' Manager=yes
put later '[Boot]' Autostart=no
does 'managed=start one=start two=start'
[[ $(jq .daemon_reload plan) == true && ! -e /dev/ublk/one ]]
ublkctl apply
for name in one two managed; do
	[[ -b /dev/ublk/$name ]]
done
[[ ! -e /dev/ublk/later ]]
nothing_is_left

pid=$(systemctl show -P MainPID ublk@one.service)
put one '[Limits]' ReadIOPS=1000
put two '[Queues]' Depth=16
rm /etc/ublk/managed.conf
does 'managed=stop one=reload two=stop-start'
# held, it is not stopped, and the others are done all the same
exec 3</dev/ublk/two
expect_status 1 ublkctl apply 2>err
grep '^ublkctl: two: changed: Depth=, and it is in use: open in ' err || fail "$(<err)"
[[ $(systemctl show -P MainPID ublk@one.service) == "$pid" ]]
wait_until 30 eval '! ublkctl status managed'
exec 3<&-
ublkctl apply
[[ $(ublkctl status two --json | jq .depth) =~ ^1[67]$ ]]
nothing_is_left

# What the next server can take is a restart, and one that was lost is a start: who has the device open goes on. A run
# for another device does not touch it.
exec 3</dev/ublk/two
main_pid() { systemctl show -P MainPID ublk@two.service; }
pid=$(main_pid)
put two '[Queues]' Depth=16 '[Fault]' Latency=1ms
does 'two=restart'
[[ $(ublkctl apply one nowhere --json | jq -r '[.devices[] | .name + "=" + .action] | join(" ")') == 'one=nothing nowhere=nothing' ]]
[[ $(main_pid) == "$pid" ]]
ublkctl apply
[[ $(main_pid) != "$pid" ]]
nothing_is_left
at_exit rm -rf /run/systemd/system/ublk@two.service.d
mkdir -p /run/systemd/system/ublk@two.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/ublk@two.service.d/50-test.conf
systemctl daemon-reload
kill -KILL "$(main_pid)"
is_given_up() {
	[[ $(systemctl show -P ActiveState ublk@two.service ublk-reap@two.service | paste -sd ' ') == 'failed  inactive' ]]
}
wait_until 60 is_given_up
[[ $(ublkctl list --json | jq -r '.[] | select(.name == "two") | .state') == quiesced ]]
does 'two=start'
timeout 60 dd if=/dev/ublk/two of=/dev/null bs=4096 count=1 iflag=direct status=none & # waits
reader=$!
ublkctl apply two | grep 'two: start (ublk@two.service): it has lost its server'
wait "$reader"
nothing_is_left
exec 3<&-

# an error in one definition is told, and stops nothing
echo 'Depth=yes' >>/etc/ublk/one.conf
rm /etc/ublk/two.conf
expect_status 1 ublkctl apply 2>err
grep '^ublkctl: one: its definition has errors' err
[[ -b /dev/ublk/one && $(systemctl show -P ActiveState ublk@two.service) == inactive ]]
