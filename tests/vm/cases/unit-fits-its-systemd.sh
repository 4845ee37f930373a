# guest: full
# timeout: 120
# What is installed suits the systemd and the udev that run: nothing in it is unknown to them, and
# the service has the best type that there is.
. "$VM_LIB/common.sh"
version=$(systemctl --version | awk 'NR == 1 { print $2 }')
units=$(systemctl show -P FragmentPath ublk.target)
units=${units%/*}

systemd-analyze verify --man=no --recursive-errors=no "$units"/ublk@.service "$units"/ublk-reap@.service \
	"$units"/ublkd.service "$units"/ublk-reap.service "$units"/ublk.target "$units"/remote-ublk.target "$units"/system-ublk.slice \
	>"$WORK/verify" 2>&1 || fail "$(<"$WORK/verify")"
[[ ! -s $WORK/verify ]] || fail "$(<"$WORK/verify")"
for unit in ublk@any.service ublkd.service; do
	[[ $(systemctl show -P Type "$unit") == notify ]]
	[[ $(systemctl show -P RestartKillSignal "$unit") == 12 ]]
	((version < 254)) || [[ $(systemctl show -P RestartMode "$unit") == direct ]]
done
[[ $(systemctl show -P OnFailure ublk@any.service) == ublk-reap@any.service ]]
[[ $(systemctl show -P OnFailure ublkd.service) == ublk-reap@.manager.service ]]
systemctl is-active ublk.target
[[ $(systemctl is-enabled ublkd.service) == disabled ]]

# tenths; see the comments in the units for what is left
for unit in 20:ublk@.service 20:ublkd.service 40:ublk-reap@.service 40:ublk-reap.service; do
	systemd-analyze security --no-pager --offline=true --threshold="${unit%%:*}" "$units/${unit#*:}" | tail -n 1
done

((version < 254)) || udevadm verify /usr/lib/udev/rules.d/61-ublk.rules
((version < 256)) || systemd-tmpfiles --dry-run --create ublkd.conf
systemd-sysusers --dry-run ublkd.conf
modprobe -c | grep -E '^options ublk_drv ublks_max='

# of all that is in /sys, the server can write to what its device has, and to no other
cat >"$WORK/fits.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=memory
E
dev=$(start_device "$WORK/fits.conf")
sys=/sys/class/block/${dev#/dev/}
pid=$(systemctl show -P MainPID ublk@fits.service)
inside() { nsenter --mount --net --target "$pid" -- "$@"; }
echo 64 | inside tee "$sys/queue/nr_requests"
[[ $(<"$sys/queue/nr_requests") == 64 ]]
echo change | inside tee "$sys/uevent"
udevadm settle
! echo 64 | inside tee "/sys/class/block/${SCRATCH1#/dev/}/queue/nr_requests" 2>"$WORK/tee" || fail "/sys is writable"
grep 'Read-only file system' "$WORK/tee"
