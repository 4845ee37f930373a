# guest: mini
# rows: 1 2
# rows-short: 2
# timeout: 240
# timeout-long: 2400
# The NBD server behind a device in use is killed and started again, frozen for a while, and now and then the server of the
# device is killed, too: its users wait, and see no error and no wrong block. Errors come after Timeout=, no sooner. A
# server that comes back with another disk is not used.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/nbd.sh"
nbd_is_up() { [[ $(metric "$1" ublk_unreachable_queues) == 0 ]]; }
scratch_fs
rounds=$((VM_LONG ? 200 : 8))
truncate -s 96M fs/nbd.img
nbd_serve file fs/nbd.img
define_nbd nbd 2 16 Timeout=5min
serve nbd
node=$dev
: >all.log
n_kills=0
torture_begin "$dev" --size=48M --workers=2 --depth=32 --max=64K
fio_begin "$dev" --offset=48M --size=24M --io_size=6M
for ((i = 0; i < rounds; i++)); do
	pass_time $((RANDOM % 500))
	case $((i % 4)) in
	0 | 1)
		nbd_kill
		pass_time $((RANDOM % 500))
		nbd_serve file fs/nbd.img
		;;
	2)
		kill -STOP "$nbd"
		pass_time $((RANDOM % 1500))
		kill -CONT "$nbd"
		;;
	3)
		kill -KILL "$server"
		{ wait "$server"; } 2>/dev/null || (($? == 137))
		((RANDOM % 2)) || {
			nbd_kill
			nbd_serve file fs/nbd.img
		}
		next_server nbd
		comes_up nbd
		n_kills=$((n_kills + 1))
		;;
	esac
	! is_gone "$server" || fail "the server has ended: $(cat all.log nbd.log)"
	is_only_device "$node"
done
wait_until 20 nbd_is_up nbd || fail "no connection: $(cat nbd.log nbdkit.log)"
torture_end
fio_end
wait_until 20 nobody_waits
(($(took_over nbd) == n_kills))
(($(metric nbd ublk_reconnects_total) > 0))
! kernel_log | grep -E "(I/O|Buffer I/O) error.*${node#/dev/}" || fail "the kernel has seen errors"
stop_and_look "$node"

# A server that is away, or hangs, for longer than Timeout=.
define_nbd nbd 1 16 Timeout=3s
serve nbd
put "$dev" 5 a oflag=direct
away_kill() { nbd_kill; }
back_kill() { nbd_serve file fs/nbd.img; }
away_freeze() { kill -STOP "$nbd"; }
back_freeze() { kill -CONT "$nbd"; }
for how in kill freeze; do
	away_$how
	start=${EPOCHREALTIME/./}
	fails_with 'Input/output error' dd if="$dev" of=/dev/null bs=4K count=1 iflag=direct status=none
	((${EPOCHREALTIME/./} - start >= 2900000)) || fail "an error after $((${EPOCHREALTIME/./} - start)) us"
	grep -q 'no connection to nbd+unix' nbd.log
	[[ $(metric nbd ublk_unreachable_queues) == 1 ]]
	back_$how
	wait_until 30 has "$dev" 5 a iflag=direct
	[[ $(metric nbd ublk_unreachable_queues) == 0 ]]
done

# Another one in its place: of another size, and one that has forgotten.
nbd_kill
nbd_serve memory 64M
wait_until 20 grep -q 'has another size' nbd.log
nbd_kill
nbd_serve memory 96M
wait_until 20 grep -q 'does not have what it had acknowledged' nbd.log || fail "$(<nbd.log)"
nbd_kill
nbd_serve file fs/nbd.img
wait_until 20 has "$dev" 5 a iflag=direct
stop_and_look "$dev"
