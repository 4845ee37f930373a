#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/rbd, with $VM_EXTRA.
. /vm/files/pairs-guest.sh
declare -A device

lo_up
echo vm >/proc/sys/kernel/hostname # the OSD has a place of that name
# programs are where they look for each other, and modules where they were
modprobe -a overlay ublk_drv nbd rbd
mkdir modules fs
mount --bind /usr/lib/modules modules
mount -t overlay ceph -o lowerdir="$VM_EXTRA:/usr" /usr
mount --bind modules /usr/lib/modules
mkfs.ext4 -q -O '^has_journal' "$SCRATCH0"
mount "$SCRATCH0" fs
at_exit umount -l "$WORK/fs"
node() { "$VM_LIB/ceph-node" "$WORK/fs/ceph" "$1"; }
at_exit node stop
node start
export CEPH_CONF=$WORK/fs/ceph/ceph.conf

# With what the kernel's client can do, too.
for name in ublk krbd rbd-nbd; do
	rbd create $name --size 64M --image-feature layering,exclusive-lock
done
printf '[Backend]\nType=rbd\nImage=ublk\nUser=ublk\nConf=%s\n[Queues]\nCount=2\n' "$CEPH_CONF" >ublk.conf
device[cluster ublk]=$(start_device "$WORK/ublk.conf")
device[cluster krbd]=$(rbd map krbd --id ublk --options noudev,ms_mode=prefer-crc)
at_exit rbd unmap --options noudev krbd
device[cluster rbd-nbd]=$(rbd-nbd map rbd-nbd --id ublk)
at_exit rbd-nbd unmap rbd-nbd
for dev in "${device[@]}"; do
	plain "$dev"
	dd if=/dev/urandom of="$dev" bs=1M count=64 oflag=direct status=none
done
compare cluster {randread,randwrite}-4k-{1,32,128} {read,write}-512k-4
