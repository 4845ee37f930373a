# guest: mini
# rows-short: 1
# timeout: 120
# The disk below does not answer (a suspended device-mapper table) when the server is told to stop. It waits, for the
# request of a user, whom it names, and for its own flush, and goes on when the disk does: nothing is lost.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
modprobe dm-mod
dmsetup create below --table "0 131072 linear $SCRATCH0 0"
at_exit dmsetup remove --retry below
cat >slow.conf <<-E
	[Device]
	LogicalBlockSize=4096
	[Backend]
	Type=file
	Path=/dev/mapper/below
	[Queues]
	Count=1
	Depth=4
E
# waits_in PID FUNCTION: a thread of it sleeps there in the kernel
waits_in() { cat /proc/"$1"/task/*/stack | grep -q "\b$2\b"; }

# requests under way; with depth 4 all that the queue can have
serve slow
put "$dev" 0 a oflag=direct,dsync
at_exit dmsetup resume below
dmsetup suspend below
writers=()
for block in 1 2 3 4 5 6; do
	put "$dev" "$block" b oflag=direct,dsync &
	writers+=($!)
done
all_hang() { [[ $(count slow in_flight) == 4 ]]; }
wait_until 30 all_hang
kill -TERM "$server"
wait_until 30 grep -E "^slow: notice: $dev is open in dd \(pid [0-9]+\);.*; serving it until that ends\$" slow.log
! is_gone "$server" || fail "the server left its users alone"
all_hang
[[ $(ublkctl status slow --json | jq -r .state) == live ]]
dmsetup resume below
for pid in "${writers[@]}"; do
	wait "$pid" # each write succeeds
done
end_server 0
expect_status 1 grep error: slow.log
for block in 1 2 3 4 5 6; do
	has /dev/mapper/below "$block" b
done
nothing_is_left

# the flush at the end
serve slow
put "$dev" 7 c oflag=direct
dmsetup suspend below
kill -TERM "$server"
wait_until 30 waits_in "$server" blkdev_fsync
! is_gone "$server" || fail "the server did not wait for its flush"
kill -TERM "$server" # once more: no reason to leave data behind
wait_until 30 waits_in "$server" blkdev_fsync
[[ -e /run/ublkd/slow/state ]]
dmsetup resume below
end_server 0
expect_status 1 grep error: slow.log
has /dev/mapper/below 7 c
nothing_is_left
