# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 120
# list and status of a device whose server was killed and of one that ublkd knows nothing about;
# check and cat in the place where definitions really are.
. "$VM_LIB/common.sh"
for name in lost foreign; do
	cat >"$WORK/$name.conf" <<-E
		[Device]
		Size=16M
		[Backend]
		Type=memory
		[Queues]
		Count=1
		Depth=16
		[Recovery]
		Mode=none
	E
done
install_definition "$WORK/lost.conf"
json() { { ublkctl status "$1" --json || true; } | jq -r "$2"; }

# ---- a server that died, and none comes after it
mkdir -p /run/systemd/system/ublk@lost.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/ublk@lost.service.d/once.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/ublk@lost.service.d
# which would remove what nobody uses
ln -s /dev/null /run/systemd/system/ublk-reap@lost.service
at_exit rm /run/systemd/system/ublk-reap@lost.service
systemctl daemon-reload
start_name lost
expect_status 0 ublkctl status lost >/dev/null
pid=$(systemctl show -P MainPID ublk@lost.service)
id=$(json lost .id)
kill -KILL "$pid"
is_dead() { [[ $(json lost .state) == dead ]]; }
wait_until 30 is_dead
has_failed() { [[ $(systemctl show -P Result ublk@lost.service) == signal ]]; }
wait_until 30 has_failed
expect_status 1 ublkctl status lost >"$WORK/status"
cat "$WORK/status"
grep -x '        State: dead' "$WORK/status"
grep -x '       Server: none, the last one has died' "$WORK/status"
ublkctl list | grep -E "^lost +- +$id dead +16M memory +1x16 "
[[ $(json lost '"\(.kernel_state) \(.locked) \(.node) \(.holders)"') == 'dead false null null' ]]
# the next server takes that away
systemctl reset-failed ublk@lost.service
systemctl start ublk@lost.service
expect_status 0 ublkctl status lost >/dev/null
[[ $(ls /sys/class/ublk-char) == ublkc* ]]
systemctl stop ublk@lost.service
expect_status 1 ublkctl status lost | grep -x '        State: stopped'

# ---- a device that another program has made, as far as anybody can tell
ublkd serve --config "$WORK/foreign.conf" 2>"$WORK/log" &
pid=$!
at_exit kill "$pid"
is_ready() { grep -q ready: "$WORK/log"; }
wait_until 30 is_ready
node=$(realpath -e /dev/ublk/foreign)
id=${node#/dev/ublkb}
rm -r /run/ublkd/foreign "/run/ublkd/udev/${node#/dev/}"
ublkctl list
ublkctl list | grep -E "^- +$node +$id live +16M - +1x16 +$pid -"
[[ $(ublkctl list --json | jq -r ".[] | select(.id == $id) | \"\(.name) \(.backend) \(.state) \(.locked)\"") == \
	'null null live null' ]]
expect_status 0 ublkctl status "$node" >"$WORK/status"
cat "$WORK/status"
[[ $(head -n 1 "$WORK/status") == "ublkb$id - made by another program" ]]
grep -x "       Server: pid $pid" "$WORK/status"
[[ $(json "$id" .counters) == null ]]
expect_status 1 ublkctl status foreign
kill -TERM "$pid"
wait "$pid"
[[ ! -e $node ]]

# ---- definitions
install -D -m 644 /dev/stdin /etc/ublk/lost.conf.d/10-size.conf <<-E
	[Device]
	Size=32M
E
expect_status 0 ublkctl check lost
ublkctl cat lost >"$WORK/cat"
grep -F /etc/ublk/lost.conf.d/10-size.conf "$WORK/cat"
grep -x Size=32M "$WORK/cat"
[[ $(ublkctl cat lost --json | jq -r 'map(.file) | join(" ")') == \
	"/etc/ublk/lost.conf /etc/ublk/lost.conf.d/10-size.conf" ]]
ublkctl cat lost --json | jq -j '.[0].content' | cmp - /etc/ublk/lost.conf
ublkctl list --all | grep -E '^lost +- +- stopped +32M memory'
echo 'Sice=3' >>/etc/ublk/lost.conf
expect_status 78 ublkctl check lost 2>&1 | grep -F '/etc/ublk/lost.conf:10: [Recovery] Sice=: '
expect_status 78 ublkctl check lost --json | jq -e '.[0].line == 10 and .[0].severity == "error"'
ublkctl list --all | grep -E '^lost +- +- invalid '
expect_status 1 ublkctl status lost | grep -F 'invalid; "ublkctl check lost"'
ublkctl features --json | jq -e '[.[] | select(.available)] | length > 5'
