# guest: full
# timeout: 60
# The guest itself: everything started, with the systemd that the row stands for, and udev works.
. "$VM_LIB/common.sh"
systemctl --failed --no-legend
[[ $(systemctl is-system-running) == running ]]
case $VM_ROW in
1 | 2) systemctl --version | grep '^systemd 257 ' ;;
3) systemctl --version | grep '^systemd 252 ' ;;
esac
modprobe ublk_drv
wait_until 10 test -c /dev/ublk-control
udevadm settle
udevadm info --query=property "$SCRATCH0" | grep '^ID_SERIAL=scratch0$'
[[ $(blockdev --getsize64 "$SCRATCH1") == $((4 << 30)) ]]
