# guest: full
# timeout: 120
# With x-systemd.requires= in fstab, mounting starts the service, and stopping the service unmounts
# first, so that it never has to wait.
. "$VM_LIB/common.sh"
cat >"$WORK/tab.conf" <<-E
	[Device]
	Size=64M
	[Backend]
	Type=file
	Path=$WORK/tab.img
	Create=sparse
E
install_definition "$WORK/tab.conf"
at_exit systemctl stop ublk@tab.service
systemctl start ublk@tab.service
mkfs.ext4 -q /dev/ublk/tab
systemctl stop ublk@tab.service

cp /etc/fstab "$WORK/fstab"
at_exit systemctl daemon-reload
at_exit cp "$WORK/fstab" /etc/fstab
echo '/dev/ublk/tab /srv/tab ext4 nofail,x-systemd.requires=ublk@tab.service 0 2' >>/etc/fstab
systemctl daemon-reload

systemctl start srv-tab.mount
systemctl is-active ublk@tab.service
echo kept >/srv/tab/file
systemctl stop ublk@tab.service
! mountpoint -q /srv/tab || fail "the service has stopped under a mounted file system"
[[ $(systemctl show -P Result ublk@tab.service) == success ]]
journalctl -b -u ublk@tab.service -o cat >"$WORK/log"
! grep 'mounted on' "$WORK/log" || fail "the service had to wait for a mount that is ordered after it"

# ordered also by the name of the device alone, as lines without the option are
systemctl show -P Before ublk@tab.service | grep -ow 'blockdev@dev-ublk-tab.target'
systemctl show -P After srv-tab.mount | grep -ow 'blockdev@dev-ublk-tab.target'

systemctl start srv-tab.mount
[[ $(cat /srv/tab/file) == kept ]]
systemctl stop ublk@tab.service
