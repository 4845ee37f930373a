# guest: full
# rows: 1 2 3
# rows-short: 3
# timeout: 400
# After a daemon-reload a plain line of fstab starts the server of a new definition, and its sandbox is
# open for what the definition names; before, the start says that it is due. Files with errors are
# told in one line each, and harm no other.
. "$VM_LIB/common.sh"
mkdir -p /etc/ublk
define() {
	cat >"/etc/ublk/$1.conf"
	at_exit rm -f "/etc/ublk/$1.conf"
}
show() { systemctl show -P "$2" "ublk@$1.service"; }
drop_in=/run/systemd/generator/ublk@my-data.service.d/50-ublkd-generator.conf
mkdir -p /srv/images
at_exit rm -rf /srv/images

# ---- a definition that systemd has not been told of ----

truncate -s 64M /srv/images/my-data.img
define my-data <<-E
	[Backend]
	Type=file
	Path=/srv/images/my-data.img
	[Boot]
	Options=noauto
E
at_exit systemctl stop ublk@my-data.service
at_exit systemctl reset-failed ublk@my-data.service
[[ ! -e $drop_in ]]
expect_status 1 systemctl start ublk@my-data.service
[[ $(show my-data ExecMainStatus) == 77 && $(show my-data NRestarts) == 0 ]] ||
	fail "status $(show my-data ExecMainStatus), $(show my-data NRestarts) restarts"
journalctl --sync
journalctl -b -o cat UBLKD_DEVICE=my-data >"$WORK/log"
grep -F "/srv/images/my-data.img: Read-only file system; the service was confined before the definition was written: run 'systemctl daemon-reload'" \
	"$WORK/log" || fail "$(<"$WORK/log")"
systemctl reset-failed ublk@my-data.service

# ---- and has been told of; noauto, but mounted ----

cp /etc/fstab "$WORK/fstab"
at_exit systemctl daemon-reload
at_exit cp "$WORK/fstab" /etc/fstab
echo '/dev/ublk/my-data /srv/my-data ext4 nofail 0 2' >>/etc/fstab
systemctl daemon-reload
cat "$drop_in"
[[ $(show my-data DropInPaths) == *"$drop_in"* ]]
[[ $(show my-data NeedDaemonReload) == no ]]
[[ ! -e /run/systemd/generator/ublk.target.wants/ublk@my-data.service ]]
mkfs.ext4 -q /srv/images/my-data.img
[[ $(show my-data ActiveState) == inactive ]]
at_exit systemctl stop 'srv-my\x2ddata.mount'
systemctl start 'srv-my\x2ddata.mount'
[[ $(show my-data ActiveState) == active ]]
echo kept >/srv/my-data/file

# a restart does not unmount; at shutdown the mount ends first, whose name for it has the escape
before=$(awk '$5 == "/srv/my-data" { print $1 }' /proc/self/mountinfo)
systemctl restart ublk@my-data.service
[[ $(awk '$5 == "/srv/my-data" { print $1 }' /proc/self/mountinfo) == "$before" ]]
[[ $(cat /srv/my-data/file) == kept ]]
# (systemctl may write a backslash twice)
show my-data Before | grep -oE 'blockdev@dev-ublk-my\\+x2ddata[.]target'
systemctl show -P After 'srv-my\x2ddata.mount' | grep -oE 'blockdev@dev-ublk-my\\+x2ddata[.]target'

# what the definition says by now is newer: the one in use still is in the sandbox, for the next server
touch -d '+1 minute' /etc/ublk/my-data.conf
[[ $(show my-data NeedDaemonReload) == yes ]]
sed -i 's/my-data.img/another.img/' /etc/ublk/my-data.conf
systemctl daemon-reload
show my-data ReadWritePaths | grep -F '/srv/images/another.img' | grep -F /srv/images/my-data.img
systemctl kill --signal=KILL ublk@my-data.service
wait_until 60 test "$(cat /srv/my-data/file)" == kept
echo again >/srv/my-data/file
sync /srv/my-data/file
systemctl stop 'srv-my\x2ddata.mount'
systemctl stop ublk@my-data.service
rm /etc/ublk/my-data.conf

# ---- other backings; one is served by hand ----

define disk <<-E
	[Backend]
	Type=file
	Path=$SCRATCH1
E
for type in memory null; do
	define "$type" <<-E
		[Device]
		Size=16M
		[Backend]
		Type=$type
	E
done
define bad <<-E
	[Device]
	Sise=1M
	[Backend]
	Type=null
E
define Bad-Name <<-E
	[Backend]
	Type=null
E
for name in disk memory null; do
	at_exit systemctl stop "ublk@$name.service"
done
systemctl daemon-reload
kernel_log | grep -F 'ublkd-generator' >"$WORK/said" || true
cat "$WORK/said"
[[ $(grep -c '/etc/ublk/bad.conf:2: \[Device\] Sise=: ' "$WORK/said") -ge 1 ]]
[[ $(grep -c '/etc/ublk/Bad-Name.conf: ' "$WORK/said") -ge 1 ]]
[[ ! -e /run/systemd/generator/ublk@bad.service.d ]]
for name in disk memory null; do
	[[ -L /run/systemd/generator/ublk.target.wants/ublk@$name.service ]]
	systemctl start "ublk@$name.service"
done
[[ $(systemctl show -P BindsTo ublk@disk.service) == *"${SCRATCH1##*/}.device"* ]]
dd if=/dev/zero of=/dev/ublk/disk bs=4096 count=1 oflag=direct status=none
systemctl show -P DeviceAllow ublk@disk.service | grep -F "$SCRATCH1"
! systemctl show -P DeviceAllow ublk@disk.service | grep -F 'block-*' || fail "all block devices are allowed"
systemctl stop ublk@disk.service ublk@memory.service ublk@null.service

# a device that appears without its service does not make systemd start another server
ublkd serve null >"$WORK/by-hand" 2>&1 &
by_hand=$!
at_exit kill "$by_hand"
wait_until 60 test -b /dev/ublk/null
udevadm settle
wait_until 30 systemctl is-active dev-ublk-null.device
systemctl list-jobs --no-legend >"$WORK/jobs"
! grep ublk@null "$WORK/jobs" || fail "$(<"$WORK/jobs")"
[[ $(show null ActiveState) == inactive ]] || fail "ublk@null.service is $(show null ActiveState)"
kill "$by_hand"
wait_until 60 is_gone "$by_hand"

# a mount does not wait long for a service that fails
define fails <<-E
	[Backend]
	Type=file
	Path=/srv/images/none.img
E
echo '/dev/ublk/fails /srv/fails ext4 noauto 0 2' >>/etc/fstab
mkdir -p /run/systemd/system/ublk@fails.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/ublk@fails.service.d/once.conf
at_exit rm -r /run/systemd/system/ublk@fails.service.d
at_exit systemctl reset-failed
systemctl daemon-reload
start=$SECONDS
expect_status 1 systemctl start srv-fails.mount
((SECONDS - start < 60)) || fail "the mount waited $((SECONDS - start)) s for a service that had failed"
echo "figure: mount of a device whose service fails: $((SECONDS - start)) s"
