# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 180
# A service that cannot start says why in one line of the journal for each reason, with fields to
# search by, ends with the status that the manual promises, and leaves nothing behind.
. "$VM_LIB/common.sh"
mkdir -p /etc/ublk /run/systemd/system/ublk@.service.d
define() {
	cat >"/etc/ublk/$1.conf"
	at_exit rm -f "/etc/ublk/$1.conf"
	systemctl daemon-reload
}
show() { systemctl show -P "$2" "ublk@$1.service"; }

# expect_failure NAME STATUS ERRNO LINE...
expect_failure() {
	local name=$1 status=$2 err=$3
	shift 3
	at_exit systemctl reset-failed "ublk@$name.service"
	expect_status 1 systemctl start "ublk@$name.service" 2>"$WORK/systemctl"
	[[ $(show "$name" ActiveState) == failed ]] || fail "$name is $(show "$name" ActiveState)"
	[[ $(show "$name" ExecMainStatus) == "$status" ]] ||
		fail "$name: status $(show "$name" ExecMainStatus) instead of $status"
	[[ $(show "$name" NRestarts) == 0 ]]
	journalctl --sync
	journalctl -b -o json "UBLKD_DEVICE=$name" >"$WORK/json"
	jq -r .MESSAGE "$WORK/json" >"$WORK/got"
	printf '%s\n' "$@" | diff - "$WORK/got"
	jq -es --arg err "$err" 'length > 0 and all(.[]; .PRIORITY == "3" and .ERRNO == $err and
		(.CODE_FILE | test("^src/.*[.]c$")) and (.CODE_LINE | tonumber > 0) and .CODE_FUNC != null and
		.SYSLOG_IDENTIFIER == "ublkd" and ._COMM == "ublkd")' "$WORK/json" >/dev/null ||
		fail "fields: $(<"$WORK/json")"
	expect_nothing_left "$name"
}
expect_nothing_left() {
	[[ ! -e /run/ublkd/$1 ]] || fail "/run/ublkd/$1 is left"
	[[ -z $(ls /sys/class/ublk-char 2>/dev/null) ]] || fail "a device is left"
	[[ -z $(ls /run/ublkd/udev 2>/dev/null) ]] || fail "properties for udev are left"
}

expect_failure nodef 78 117 \
	'there is no definition of nodef: make /etc/ublk/nodef.conf, see ublk.conf(5)'

ln -s /dev/null /etc/ublk/masked.conf
at_exit rm /etc/ublk/masked.conf
expect_failure masked 78 117 \
	'the definition of masked is masked: an empty file or a link to /dev/null stands for it'

# all errors at once, as ublkctl check tells them
define badkeys <<-E
	[Device]
	Dimension=1M
	LogicalBlockSize=1000
	[Backend]
	Type=null
E
at_exit systemctl reset-failed ublk@badkeys.service
expect_status 1 systemctl start ublk@badkeys.service
[[ $(show badkeys ExecMainStatus) == 78 && $(show badkeys NRestarts) == 0 ]]
journalctl --sync
journalctl -b -o cat UBLKD_DEVICE=badkeys >"$WORK/got"
cat "$WORK/got"
grep -F '/etc/ublk/badkeys.conf:2: [Device] Dimension=: ' "$WORK/got"
grep -F '/etc/ublk/badkeys.conf:3: [Device] LogicalBlockSize=: ' "$WORK/got"
expect_status 78 ublkctl check badkeys 2>&1 | diff - "$WORK/got"
expect_nothing_left badkeys

# Of what may be better a moment later there is another try. Here the first one is looked at.
printf '[Service]\nRestart=no\n' >/run/systemd/system/ublk@.service.d/once.conf
at_exit systemctl daemon-reload
at_exit rm -r /run/systemd/system/ublk@.service.d
systemctl daemon-reload

define nofile <<-E
	[Backend]
	Type=file
	Path=$WORK/none.img
E
expect_failure nofile 78 2 \
	"$WORK/none.img does not exist: set Create=sparse or Create=prealloc to make it"
[[ ! -e $WORK/none.img ]]

truncate -s 16M "$WORK/locked.img"
exec 9<"$WORK/locked.img"
flock -x 9
define locked <<-E
	[Backend]
	Type=file
	Path=$WORK/locked.img
E
# the lock was taken by a child, flock, which is no more
expect_failure locked 75 16 \
	"$WORK/locked.img is in use by somebody else: it can have one writer or many readers, release it there first"
exec 9<&-
at_exit systemctl stop ublk@locked.service
systemctl start ublk@locked.service
[[ -b /dev/ublk/locked ]]
systemctl stop ublk@locked.service

# no driver
wait_until 20 rmmod ublk_drv
at_exit modprobe ublk_drv
echo 'install ublk_drv /bin/false' >/etc/modprobe.d/vm-case.conf
at_exit rm /etc/modprobe.d/vm-case.conf
define nomodule <<-E
	[Device]
	Size=1M
	[Backend]
	Type=null
E
expect_failure nomodule 69 95 \
	"there is no /dev/ublk-control: run 'modprobe ublk_drv', or boot a kernel that has this module"
