# guest: full
# rows-short: 3
# timeout: 180
# list, status and features on a real device: its states, limits, users and counters, as text and
# as JSON; and what a user without privilege is told.
. "$VM_LIB/common.sh"
cat >"$WORK/seen.conf" <<-E
	[Device]
	Description=To be looked at
	Size=64M
	LogicalBlockSize=4096
	[Backend]
	Type=memory
	[Queues]
	Count=2
	Depth=16
	MaxIO=256K
E
json() { ublkctl status seen --json | jq -r "$1"; }

# defined, not there
install_definition "$WORK/seen.conf"
ublkctl list | expect_status 1 grep seen
ublkctl list --all | grep -E '^seen +- +- stopped +64M memory'
expect_status 1 ublkctl status seen
expect_status 1 ublkctl status nonsense 2>"$WORK/complaint"
grep '"nonsense"' "$WORK/complaint"
[[ $(wc -l <"$WORK/complaint") == 1 ]]

# live
node=$(start_device seen.conf)
id=${node#/dev/ublkb}
ublkctl status seen
ublkctl status "$node" | grep -x '        State: live'
ublkctl status "ublkb$id" | grep -w 'To be looked at'
ublkctl status "$id" | grep /dev/ublk/seen
ublkctl list | grep -E "^seen +$node +$id live +64M memory +2x16 "
pid=$(systemctl show -P MainPID ublk@seen.service)
[[ $(json .server_pid) == "$pid" ]]
[[ $(json .locked) == true ]]
[[ $(json .kernel_state) == live ]]
[[ $(json .size_bytes) == $((64 << 20)) ]]
[[ $(json '"\(.queues) \(.depth) \(.max_io_bytes)"') == "2 16 262144" ]]
[[ $(json .limits.logical_block_bytes) == 4096 ]]
json '.links[]' | grep -x /dev/disk/by-id/ublk-seen

# its counters
before=$(json .counters.total.write.bytes)
dd if=/dev/zero of="$node" bs=256K count=4 oflag=direct status=none
[[ $(json .counters.total.write.bytes) == $((before + (1 << 20))) ]]
[[ $(json '[.counters.queues[].write.bytes] | add') == $((before + (1 << 20))) ]]
[[ $(json .counters.total.in_flight) == 0 ]]
[[ $(json .counters.total.write.errors) == 0 ]]

# its users
udevadm settle
[[ $(json '.holders | length') == 0 ]]
exec 9<"$node"
json '.holders[] | "\(.kind) \(.text)"' | grep -E "^process .*\(pid $$\)"
exec 9<&-
mkfs.ext4 -q "$node"
mkdir "$WORK/a mount"
mount "$node" "$WORK/a mount"
at_exit umount -q "$WORK/a mount"
json '.holders[] | "\(.kind) \(.text)"' | grep -x "mount $WORK/a mount"
ublkctl list | grep -F "mounted on $WORK/a mount"
umount "$WORK/a mount"

# without privilege: all but the kernel's state, and 77
expect_status 77 setpriv --reuid=65534 --clear-groups ublkctl list >"$WORK/list" 2>"$WORK/complaint"
cat "$WORK/list" "$WORK/complaint"
grep -E "^seen +$node +$id unknown +64M memory" "$WORK/list"
[[ $(wc -l <"$WORK/complaint") == 1 ]]
expect_status 77 setpriv --reuid=65534 --clear-groups ublkctl status seen

# the kernel's features are those that /dev/ublk-control reports, none of them unknown to us
ublkctl features
ublkctl features --json | jq -e 'all(.[]; .name != null)'
[[ $(ublkctl features --json | jq -r '.[] | select(.bit == 6) | "\(.name) \(.available)"') == \
	"CMD_IOCTL_ENCODE true" ]]

# not there any more
stop_name seen
ublkctl list | expect_status 1 grep seen
[[ ! -e /run/ublkd/seen ]]
