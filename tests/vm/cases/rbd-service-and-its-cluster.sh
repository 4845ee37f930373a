# guest: full
# rows: 1 2
# rows-short:
# timeout: 600
# timeout-long: 1200
# smp: 1
# extra: ceph
# The service of a device whose data are in a Ceph cluster, of one monitor and one OSD here in the guest: its sandbox is
# opened for the network, its keyring is a credential. Its server is killed and restarted, and the OSD, under a load that
# checks what it reads: its users wait, and see no error. The device grows with the image.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
. "$VM_LIB/serve.sh"
unit=ublk@disk.service
# it is where its programs look for each other, and the modules are where they were
modprobe overlay
mkdir modules
mount --bind /usr/lib/modules modules
mount -t overlay ceph -o lowerdir="$VM_EXTRA:/usr" /usr
mount --bind modules /usr/lib/modules
mkfs.ext4 -q -O '^has_journal' "$SCRATCH0"
mkdir fs
mount "$SCRATCH0" fs
at_exit umount -l "$WORK/fs"
at_exit node stop
export CEPH_CONF=$WORK/fs/ceph/ceph.conf
node() { "$VM_LIB/ceph-node" "$WORK/fs/ceph" "$1"; }
status_has() { [[ $(systemctl show -P StatusText "$unit") == *"$1"* ]]; }
said() { journalctl -q -b -o cat -u "$unit" | grep -qF "$1"; }
has_size() { [[ $(blockdev --getsize64 "$1") == "$2" ]]; }
start=$SECONDS
node start
echo "figure: a cluster was there after $((SECONDS - start)) s"

rbd create disk --size 48M
# a configuration that knows of no keyring
sed 's!^keyring = .*/ceph/keyring$!keyring = /nowhere!' "$CEPH_CONF" >fs/bare.conf
install -m 600 fs/ceph/keyring fs/ceph.keyring
printf '[Device]\nDescription=In the cluster\n[Backend]\nType=rbd\nImage=disk\nUser=ublk\nConf=%s\n[Queues]\nCount=2\n' \
	"$WORK/fs/bare.conf" >disk.conf
install_definition disk.conf
mkdir -p "/run/systemd/system/$unit.d"
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nLoadCredential=ceph.keyring:%s\n' "$WORK/fs/ceph.keyring" \
	>"/run/systemd/system/$unit.d/keyring.conf"
at_exit systemctl stop "$unit"
systemctl daemon-reload
[[ $(unit_has $unit PrivateNetwork) == no ]]
unit_has $unit After | grep -qw network-online.target
systemctl start $unit
status_has 'rbd rbd/disk'
dev=$(readlink -f /dev/ublk/disk)
has_size "$dev" $((48 << 20))

# killed: the next one has the lock at once
fio_begin "$dev"
wait_until 120 test -s fio.rounds || fail "$(<fio.log)"
for how in KILL restart; do
	pid=$(unit_has $unit MainPID)
	if [[ $how == KILL ]]; then
		systemctl kill --signal=KILL $unit
		wait_until 120 is_back $unit "$pid"
	else
		systemctl restart $unit
	fi
	n=$(<fio.rounds)
	wait_until 120 eval "((\$(<fio.rounds) > $n))" || fail "$(<fio.log)"
done
said 'was shut out of rbd/disk'
! said 'is locked by' || fail 'it has waited for the lock of a dead one'

# without its OSD
node kill-osd
wait_until 120 status_has 'no answer from the cluster that has rbd/disk'
node start-osd
n=$(<fio.rounds)
wait_until 120 eval "((\$(<fio.rounds) > $n))" || fail "$(<fio.log)"
! status_has 'no answer' || fail "$(systemctl show -P StatusText $unit)"
fio_end

# it grows, where the kernel can do that
rbd resize disk --size 64M --no-progress
if has_feature UPDATE_SIZE; then
	wait_until 120 has_size "$dev" $((64 << 20))
	said 'has grown from 48M to 64M'
	put "$dev" 16000 a oflag=direct,dsync
	has "$dev" 16000 a iflag=direct
else
	wait_until 120 said 'this kernel cannot change the size of a device in use'
fi
! kernel_log | grep -E "(I/O|Buffer I/O) error.*${dev#/dev/}" || fail "the kernel has seen errors"
systemctl stop $unit
[[ ! -e /run/ublkd/disk && -z $(ls /sys/class/ublk-char) ]]
[[ -z $(rbd lock ls disk) ]]
