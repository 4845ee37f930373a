# guest: full
# timeout: 120
# The service of a device whose NBD server is at an address: the definition opens its sandbox for that, and for nothing
# else; it starts before its server, waits for it, and tells in STATUS= when it is lost.
. "$VM_LIB/common.sh"
nbd_begin() {
	nbdkit -f -p 10810 -i 127.0.0.1 file "$WORK/nbd.img" >>"$WORK/nbdkit.log" 2>&1 9<&- &
	nbd=$!
	echo "$nbd" >"$WORK/nbdkit.pid"
}
nbd_end() { kill -KILL "$(<"$WORK/nbdkit.pid")" 2>/dev/null || true; }
said() { journalctl -q -b -o cat -u ublk@net.service | grep -qF "$1"; }
status_has() { [[ $(systemctl show -P StatusText ublk@net.service) == *"$1"* ]]; }
truncate -s 32M "$WORK/nbd.img"
printf '[Device]\nDescription=On the network\n[Backend]\nType=nbd\nUri=nbd://127.0.0.1:10810/\n' >"$WORK/net.conf"
install_definition "$WORK/net.conf"
at_exit systemctl stop ublk@net.service
at_exit nbd_end
systemctl daemon-reload
[[ $(systemctl show -P IPAddressAllow ublk@net.service) == 127.0.0.1/32 ]]
[[ $(systemctl show -P PrivateNetwork ublk@net.service) == no ]]
systemctl show -P After ublk@net.service | grep -qw network-online.target

systemctl start --no-block ublk@net.service
wait_until 30 said 'waiting for nbd://127.0.0.1:10810/'
nbd_begin
wait_until 60 systemctl -q is-active ublk@net.service
status_has 'nbd nbd://127.0.0.1:10810/'
# with what the generator opened; in tenths
score=$(systemd-analyze security --no-pager --threshold=30 ublk@net.service | tail -n 1)
echo "figure: $score"
mkfs.ext4 -q /dev/ublk/net
kill -KILL "$nbd"
wait_until 20 status_has 'no connection to nbd://127.0.0.1:10810/'
head -c 1M /dev/urandom >"$WORK/want"
dd if="$WORK/want" of=/dev/ublk/net bs=64K seek=16 oflag=direct status=none &
writer=$!
nbd_begin
wait "$writer"
wait_until 20 status_has '/dev/ublkb'
! status_has 'no connection' || fail "$(systemctl show -P StatusText ublk@net.service)"
cmp -n 1048576 -i 1048576:0 "$WORK/nbd.img" "$WORK/want"
pid=$(systemctl show -P MainPID ublk@net.service)
systemctl restart ublk@net.service
[[ $(systemctl show -P MainPID ublk@net.service) != "$pid" ]]
e2fsck -fn /dev/ublk/net
systemctl stop ublk@net.service
