# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 120
# A mount in another mount namespace is in no table that the server sees. Only the kernel knows:
# newer ones refuse to stop a device in use (TRY_STOP_DEV); with others the server cannot claim it
# for itself (O_EXCL).
. "$VM_LIB/common.sh"
cat >"$WORK/unseen.conf" <<-E
	[Device]
	Size=64M
	[Backend]
	Type=memory
	[Queues]
	Depth=16
E
node=$(start_device "$WORK/unseen.conf")
show() { systemctl show -P "$1" ublk@unseen.service; }
mkfs.ext4 -q "$node"
mkdir "$WORK/mnt"
mkfifo "$WORK/end"
cat >"$WORK/inside" <<-'E'
	mount "$1" "$2/mnt"
	: >"$2/mounted"
	read -r _ <"$2/end"
	echo works | dd of="$2/mnt/file" conv=fsync status=none
	cat "$2/mnt/file" >"$2/result"
E
unshare --mount --propagation=private bash "$WORK/inside" "$node" "$WORK" &
holder=$!
at_exit kill "$holder"
wait_until 30 test -e "$WORK/mounted"
! grep -q "$node" /proc/self/mountinfo || fail "the mount is seen from here"

systemctl stop --no-block ublk@unseen.service
text='in use by somebody who cannot be seen from here'
waits() { [[ $(show StatusText) == "Stopping: waiting for the device to be free: $text" ]]; }
wait_until 60 waits || fail "$(show StatusText)"
[[ $(show ActiveState) == deactivating ]]
echo >"$WORK/end"
wait "$holder"
[[ $(<"$WORK/result") == works ]]
has_ended() { [[ $(show ActiveState) == inactive ]]; }
wait_until 60 has_ended
[[ $(show Result) == success ]]
journalctl --sync
[[ $(journalctl -b -o cat UBLKD_DEVICE=unseen PRIORITY=5) == "$node is $text; serving it until that ends" ]]
