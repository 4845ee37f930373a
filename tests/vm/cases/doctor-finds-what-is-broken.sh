# guest: full
# rows-short: 3
# timeout: 90
# ublkctl doctor has nothing to complain of where all is well, and finds what is broken on purpose, each with its exit
# status: a masked rule, io_uring forbidden, a loop device over the image, a definition with errors; 3 for other users.
. "$VM_LIB/common.sh"
cat >"$WORK/patient.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=file
	Path=$WORK/patient.img
	Create=sparse
E
node=$(start_device "$WORK/patient.conf")
# doctor STATUS CHECK: what it finds, if need be
doctor() {
	expect_status "$1" ublkctl doctor
	ublkctl doctor --json >"$WORK/doctor.json" || true
	[[ -z ${2-} ]] || jq -e --arg check "$2" '.checks[] | select(.name == $check) | .severity | . == "error" or . == "warning"' \
		"$WORK/doctor.json" || fail "not the fault of $2: $(<"$WORK/doctor.json")"
}

doctor 0
[[ $(jq -r '[.checks[].severity] | unique - ["ok", "note"] | length' "$WORK/doctor.json") == 0 ]]

mkdir -p /etc/udev/rules.d
ln -s /dev/null /etc/udev/rules.d/61-ublk.rules
at_exit rm -f /etc/udev/rules.d/61-ublk.rules
doctor 2 udev
rm /etc/udev/rules.d/61-ublk.rules
doctor 0

old=$(sysctl -n kernel.io_uring_disabled)
at_exit sysctl -qw "kernel.io_uring_disabled=$old"
sysctl -qw kernel.io_uring_disabled=2
doctor 2 io_uring
sysctl -qw "kernel.io_uring_disabled=$old"

loop=$(losetup --find --show --read-only "$WORK/patient.img")
at_exit losetup --detach "$loop"
doctor 2 backing
losetup --detach "$loop"
is_detached() { ! losetup "$loop" 2>/dev/null; }
wait_until 10 is_detached
doctor 0

echo '[Device]' >/etc/ublk/broken.conf
at_exit rm -f /etc/ublk/broken.conf
doctor 2 definitions
rm /etc/ublk/broken.conf

max=/sys/module/ublk_drv/parameters/ublks_max
old=$(<$max)
at_exit sh -c "echo $old >$max"
echo 1 >$max
if (($(uname -r | awk -F. '{ print $1 * 100 + $2 }') < 615)); then
	doctor 1 ublks_max
else
	doctor 0
fi
echo "$old" >$max

expect_status 3 setpriv --reuid=65534 --regid=65534 --clear-groups ublkctl doctor
[[ -b $node ]]
