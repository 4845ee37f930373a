# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# Sourced after common.sh by cases whose device is of an NBD server.

nbd_socket=$WORK/nbd.sock

# nbd_serve ARGUMENT...: nbdkit with these, on $nbd_socket. Sets $nbd, its process.
nbd_serve() {
	[[ -e $WORK/nbdkit.pid ]] || at_exit nbd_end
	rm -f "$nbd_socket"
	nbdkit -f -U "$nbd_socket" "$@" >>"$WORK/nbdkit.log" 2>&1 9<&- &
	nbd=$!
	echo "$nbd" >"$WORK/nbdkit.pid"
	wait_until 20 test -S "$nbd_socket" || fail "no nbdkit: $(<"$WORK/nbdkit.log")"
}

# nbd_kill: SIGKILL
nbd_kill() {
	kill -KILL "$nbd"
	{ wait "$nbd"; } 2>/dev/null || true
}

nbd_end() { kill -KILL "$(<"$WORK/nbdkit.pid")" 2>/dev/null || true; }

# define_nbd NAME QUEUES DEPTH [LINE...]: $WORK/NAME.conf; lines of [Backend] and of further sections follow
define_nbd() {
	{
		printf '[Queues]\nCount=%s\nDepth=%s\n' "${@:2:2}"
		printf '[Backend]\nType=nbd\nUri=nbd+unix:///?socket=%s\n' "$nbd_socket"
		(($# < 4)) || printf '%s\n' "${@:4}"
	} >"$WORK/$1.conf"
}

# metric NAME FAMILY: its value
metric() { ublkctl metrics | awk -v m="$2{device=\"$1\"}" '$1 == m { print $2 }'; }

# qemu PROGRAM ARGUMENT...: of the extra disk
qemu() { LD_LIBRARY_PATH=$VM_EXTRA/lib/x86_64-linux-gnu "$VM_EXTRA/bin/$1" "${@:2}"; }

# install_qemu_nbd: where a service finds it
install_qemu_nbd() {
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/lib/x86_64-linux-gnu exec %s/bin/qemu-nbd "$@"\n' "$VM_EXTRA" "$VM_EXTRA" \
		>/usr/local/bin/qemu-nbd
	chmod +x /usr/local/bin/qemu-nbd
	at_exit rm /usr/local/bin/qemu-nbd
}
