# guest: full
# rows-short: 2
# timeout: 150
# The journal lies on the device whose server is killed, and is being written to as fast as possible. journald waits for
# the device then, and takes no messages; the next server has much to say, and takes the device over all the same.
. "$VM_LIB/common.sh"
unit=ublk@logs.service
cat >"$WORK/logs.conf" <<-E
	[Device]
	Size=256M
	[Backend]
	Type=file
	Path=$WORK/logs.img
	Create=sparse
E
dev=$(start_device "$WORK/logs.conf")
mkfs.ext4 -q "$dev"
mkdir -p /var/log/journal
at_exit rmdir /var/log/journal
at_exit eval 'wait_until 30 umount /var/log/journal'
mount "$dev" /var/log/journal

# Storage=persistent by a drop-in; with the first end of it, the journal is in /run again
mkdir -p /run/systemd/journald.conf.d "/run/systemd/system/$unit.d"
at_exit systemctl restart systemd-journald.service
at_exit eval "rm -r /run/systemd/journald.conf.d /run/systemd/system/$unit.d; systemctl daemon-reload"
printf '[Journal]\nStorage=persistent\nSyncIntervalSec=1s\n' >/run/systemd/journald.conf.d/zz.conf
# time for everything to fill up, before there is a server
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=8s\n' >"/run/systemd/system/$unit.d/late.conf"
sed -i '/^Storage=volatile/d' /etc/systemd/journald.conf.d/vm.conf
at_exit sed -i 's/^\[Journal\]$/&\nStorage=volatile/' /etc/systemd/journald.conf.d/vm.conf
systemctl daemon-reload
systemctl restart systemd-journald.service
journalctl --flush
wait_until 20 eval 'compgen -G "/var/log/journal/*/system.journal"'

# some that fill the sockets, and wait themselves then
yes "a line that is long enough to be worth writing, and comes again and again" | systemd-cat -t flood &
at_exit kill $!
yes "another one of that kind" | systemd-cat -t flood2 &
at_exit kill $!
journald_waits() {
	local t
	for t in /proc/"$(pidof systemd-journald)"/task/*/status; do
		! grep -q '^State:	D' "$t" || return 0
	done
	return 1
}
for i in 1 2 3; do
	pid=$(systemctl show -P MainPID $unit)
	kill -KILL "$pid"
	wait_until 8 journald_waits
	# by the process table: systemctl may wait, too
	wait_until 30 eval "p=\$(pgrep -f '^/usr/sbin/ublkd serve logs') && [[ \$p != $pid ]]"
	wait_until 30 is_live "$dev"
	sync -f /var/log/journal
	wait_until 30 eval "[[ \$(systemctl show -P MainPID $unit) != $pid && \$(systemctl is-active $unit) == active ]]"
done
(($(ublkctl stats logs --json | jq '[.. | .recoveries? // empty | .count] | first') == 3))
wait_until 30 eval "(( \$(journalctl -q -b -u $unit -o cat | grep -c 'took over ublk device') >= 3 ))"
