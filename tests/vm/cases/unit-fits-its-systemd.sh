# guest: full
# timeout: 60
# What is installed suits the systemd and the udev that run: nothing in it is unknown to them, and
# the service has the best type that there is.
. "$VM_LIB/common.sh"
version=$(systemctl --version | awk 'NR == 1 { print $2 }')
units=$(systemctl show -P FragmentPath ublk.target)
units=${units%/*}

systemd-analyze verify --man=no --recursive-errors=no "$units/ublk@.service" "$units/ublk.target" \
	"$units/system-ublk.slice" >"$WORK/verify" 2>&1 || fail "$(<"$WORK/verify")"
[[ ! -s $WORK/verify ]] || fail "$(<"$WORK/verify")"
want=notify
((version < 253)) || want=notify-reload
[[ $(systemctl show -P Type ublk@any.service) == "$want" ]]
((version < 254)) || [[ $(systemctl show -P RestartMode ublk@any.service) == direct ]]
systemctl is-active ublk.target

# tenths; see the comments in the unit for what is left
systemd-analyze security --no-pager --offline=true --threshold=25 "$units/ublk@.service" | tail -n 1

((version < 254)) || udevadm verify /usr/lib/udev/rules.d/61-ublk.rules
((version < 256)) || systemd-tmpfiles --dry-run --create ublkd.conf
systemd-sysusers --dry-run ublkd.conf
modprobe -c | grep -E '^options ublk_drv ublks_max='
