#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest of tests/bench/nbd, with $VM_EXTRA.
. /vm/files/pairs-guest.sh
declare -A device

client() { LD_LIBRARY_PATH=$VM_EXTRA/lib/x86_64-linux-gnu "$VM_EXTRA/sbin/nbd-client" "$@" >>client.log 2>&1; }
lo_up

modprobe ublk_drv
modprobe nbd nbds_max=4
nbdkit -f -U "$WORK/sock" memory 64M >>server.log 2>&1 &
at_exit kill $!
nbdkit -f -i 127.0.0.1 -p 10810 memory 64M >>server.log 2>&1 &
at_exit kill $!
wait_until 20 test -S "$WORK/sock"
is_listening() { (exec 3<>/dev/tcp/127.0.0.1/10810) 2>/dev/null; }
wait_until 20 is_listening

n=0
# place NAME URI CONNECTIONS ARGUMENT...: the arguments are the client's
place() {
	local node=/dev/nbd$n name=$1
	printf '[Queues]\nCount=%s\n[Backend]\nType=nbd\nUri=%s\n' "$3" "$2" >"$WORK/$name.conf"
	device[$name ublk]=$(start_device "$WORK/$name.conf")
	client "${@:4}" "$node" -C "$3" -b 512 || fail "$(<client.log)"
	at_exit client -d "$node"
	device[$name nbd]=$node
	plain "${device[$name ublk]}"
	plain "$node"
	n=$((n + 1))
}
places=(unix-1 unix-4 tcp-1 tcp-4)
for c in 1 4; do
	place unix-$c "nbd+unix:///?socket=$WORK/sock" $c -unix "$WORK/sock"
	place tcp-$c nbd://127.0.0.1:10810/ $c 127.0.0.1 10810
done
dd if=/dev/urandom of="${device[unix-1 ublk]}" bs=1M count=64 oflag=direct status=none
dd if=/dev/urandom of="${device[tcp-1 ublk]}" bs=1M count=64 oflag=direct status=none

for p in "${places[@]}"; do
	compare "$p" {randread,randwrite}-4k-{1,32,128} {read,write}-512k-4
done
