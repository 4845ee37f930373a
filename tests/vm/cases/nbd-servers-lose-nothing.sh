# guest: full
# extra: nbd
# rows: 1 2
# rows-short:
# timeout: 600
# timeout-long: 4800
# Devices of nbdkit over TLS with certificates, of nbd-server over TCP, and of qemu-nbd with a qcow2 image over TLS with a
# key on a local socket, all written to and verified, while their servers are killed and started again, and frozen, and
# the servers of the devices are killed: no error, and no wrong block.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
extra() { LD_LIBRARY_PATH=$VM_EXTRA/lib/x86_64-linux-gnu "$VM_EXTRA/$1" "${@:2}"; }
rounds=$((VM_LONG ? 60 : 3))
names=(certificate clear key)
pki=/etc/ublk/pki
at_exit rm -r $pki
mkdir -p $pki "$WORK/keys"
truncate -s 32M "$WORK/certificate.img" "$WORK/clear.img"
extra bin/qemu-img create -q -f qcow2 "$WORK/key.qcow2" 32M

cd $pki
make() { extra bin/certtool "$@" 2>>"$WORK/certtool.log"; }
printf 'cn=Us\nca\ncert_signing_key\n' >ca.info
printf 'cn=localhost\ndns_name=localhost\ntls_www_server\nsigning_key\nencryption_key\n' >server.info
make --generate-privkey --key-type=ecdsa --outfile=ca-key.pem
make --generate-self-signed --load-privkey=ca-key.pem --template=ca.info --outfile=ca-cert.pem
make --generate-privkey --key-type=ecdsa --outfile=server-key.pem
make --generate-certificate --load-ca-certificate=ca-cert.pem --load-ca-privkey=ca-key.pem \
	--load-privkey=server-key.pem --template=server.info --outfile=server-cert.pem
cd "$WORK"
# who has keys for qemu-nbd gives it their directory
extra bin/psktool -u disk -p "$WORK/keys/keys.psk"
cp "$WORK/keys/keys.psk" $pki

begin_certificate() {
	nbdkit -f -p 10810 -i 127.0.0.1 --tls=require --tls-certificates=$pki file "$WORK/certificate.img" \
		>>"$WORK/certificate.log" 2>&1 9<&- &
}
printf '[generic]\n\tport = 10811\n\tlistenaddr = 127.0.0.1\n\tallowlist = false\n[disk]\n\texportname = %s\n\tflush = true\n\tfua = true\n' \
	"$WORK/clear.img" >"$WORK/clear.server"
# in the background by itself; otherwise it serves one connection
begin_clear() { extra bin/nbd-server -C "$WORK/clear.server" >>"$WORK/clear.log" 2>&1 9<&-; }
begin_key() {
	rm -f "$WORK/key.sock"
	extra bin/qemu-nbd -f qcow2 --persistent --shared=8 --cache=writethrough -k "$WORK/key.sock" -x disk \
		--object tls-creds-psk,id=tls0,endpoint=server,dir="$WORK/keys" --tls-creds tls0 "$WORK/key.qcow2" \
		>>"$WORK/key.log" 2>&1 9<&- &
}
# nbd-server searches for a prime number (gnutls_dh_params_generate2) before it accepts: 0.1 to 0.9 s on a real
# machine, and by bad luck minutes on an emulated one
declare -A patience=([certificate]=60 [clear]=400 [key]=60)
declare -A program=([certificate]=nbdkit [clear]=nbd-server [key]=qemu-nbd)
# to_server NAME SIGNAL: to each of its processes
to_server() { pkill -"$2" -x "${program[$1]}" || true; }
is_server_gone() { ! pgrep -x "${program[$1]}" >"$WORK/alive"; }
define() { printf '[Device]\nDescription=%s\n[Queues]\nCount=2\n[Backend]\nType=nbd\n' "$1" >"$WORK/$1.conf" && printf '%s\n' "${@:2}" >>"$WORK/$1.conf"; }
define certificate Uri=nbds://localhost:10810/ TlsCertificates=$pki
define clear Uri=nbd://127.0.0.1:10811/disk Fence=100ms
define key "Uri=nbds+unix:///disk?socket=$WORK/key.sock" TlsPskFile=$pki/keys.psk TlsUsername=disk
# one daemon-reload for all
for name in "${names[@]}"; do
	cp "$WORK/$name.conf" /etc/ublk
	at_exit rm "/etc/ublk/$name.conf"
	at_exit systemctl stop "ublk@$name.service"
done
for name in "${names[@]}"; do
	at_exit to_server "$name" KILL
	begin_"$name"
done
without_start_limit ublk@.service
for name in "${names[@]}"; do
	systemctl start "ublk@$name.service" || fail "$(journalctl -q -b -o cat -u "ublk@$name.service" | tail -n 30) $(<"$WORK/$name.log")"
	mkdir "$WORK/load-$name"
done
# They have become credentials.
[[ -e /run/credentials/ublk@key.service/psk && -e /run/credentials/ublk@certificate.service/ca-cert.pem ]]
for name in "${names[@]}"; do
	cd "$WORK/load-$name"
	fio_begin "/dev/ublk/$name" --size=16M --io_size=3M
	declare "fio_$name=$fio"
done
cd "$WORK"
for ((i = 0; i < rounds; i++)); do
	echo "round $i"
	for name in "${names[@]}"; do
		pass_time $((RANDOM % 300))
		case $((i % 4)) in
		0 | 3)
			to_server "$name" KILL
			wait_until 20 is_server_gone "$name"
			begin_"$name"
			;;
		1)
			to_server "$name" STOP
			pass_time $((RANDOM % 1000))
			to_server "$name" CONT
			;;
		2)
			pid=$(unit_has "ublk@$name.service" MainPID)
			kill -KILL "$pid"
			wait_until "${patience[$name]}" is_back "ublk@$name.service" "$pid" ||
				fail "$(journalctl -q -b -o short-monotonic -u "ublk@$name.service" | tail -n 30) $(systemctl status "ublk@$name.service") $(tail -n 20 "$WORK/$name.log")"
			;;
		esac
	done
done
for name in "${names[@]}"; do
	cd "$WORK/load-$name"
	declare -n of=fio_$name
	fio=$of
	fio_end || fail "$name: $(journalctl -q -b -o cat -u "ublk@$name.service" | tail -n 30)"
done
wait_until 20 nobody_waits
ublkctl metrics | grep -E '^ublk_(reconnects_total|recoveries_total)' | sed 's/^/figure: /'
! kernel_log | grep -E '(I/O|Buffer I/O) error.*ublkb' || fail 'the kernel has seen errors'
for name in "${names[@]}"; do
	systemctl stop "ublk@$name.service"
done
# It was written, and is whole: 3 is for space that a qemu-nbd that was killed has left unused.
to_server key TERM
wait_until 20 is_server_gone key
extra bin/qemu-img check -q "$WORK/key.qcow2" || (($? == 3))
