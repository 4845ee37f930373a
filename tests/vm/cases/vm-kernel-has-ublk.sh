# guest: mini
# timeout: 30
# The guest itself: the module of this kernel loads, and the kernel is the one that the row stands for.
. "$VM_LIB/common.sh"
modprobe ublk_drv
wait_until 10 test -c /dev/ublk-control
case $VM_ROW in
1 | 3) uname -r | grep '^6\.12\.' ;;
2) uname -r | grep -v '^6\.' ;;
esac
