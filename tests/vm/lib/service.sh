# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after common.sh and load.sh by cases of a full guest that restart or kill a service whose devices are in use.

# unit_has UNIT PROPERTY
unit_has() { systemctl show -P "$2" "$1"; }

# without_start_limit UNIT: the case starts it more often than the unit allows within a minute
without_start_limit() {
	mkdir -p "/run/systemd/system/$1.d"
	printf '[Unit]\nStartLimitIntervalSec=0\n' >"/run/systemd/system/$1.d/50-test.conf"
	at_exit rm -r "/run/systemd/system/$1.d"
	systemctl daemon-reload
}

# mount_id DIRECTORY: another one after each mount
mount_id() { awk -v d="$1" '$5 == d { print $1 }' /proc/self/mountinfo; }

# restart_unit UNIT [EVENT]: another process has its devices when it returns. Counts in $n_restarts.
n_restarts=0
restart_unit() {
	local pid
	pid=$(unit_has "$1" MainPID)
	event "${2-restart}"
	systemctl restart "$1" || fail "$(journalctl -q -b -o cat -u "$1" | tail -n 30)"
	n_restarts=$((n_restarts + 1))
	[[ $(unit_has "$1" ActiveState) == active && $(unit_has "$1" MainPID) != "$pid" ]]
	[[ $(unit_has "$1" NRestarts) == 0 ]]
}

# replace_binary UNIT: as the package manager does, and a restart
replace_binary() {
	cp -p /usr/sbin/ublkd /usr/sbin/ublkd.new
	mv /usr/sbin/ublkd.new /usr/sbin/ublkd
	[[ $(readlink "/proc/$(unit_has "$1" MainPID)/exe") == '/usr/sbin/ublkd (deleted)' ]]
	restart_unit "$1" replace
	[[ $(readlink "/proc/$(unit_has "$1" MainPID)/exe") == /usr/sbin/ublkd ]]
}

# is_back UNIT PID [RESTARTS]: it runs, in another process, and was restarted so often; for wait_until
is_back() {
	local is
	# one call: each is slow in an emulated machine, and would see another moment
	is=$(systemctl show -p MainPID -p ActiveState -p NRestarts "$1")$'\n'
	[[ $is == *ActiveState=active* && $is != *"MainPID=$2"$'\n'* && (-z ${3-} || $is == *"NRestarts=$3"$'\n'*) ]]
}
