# guest: full
# rows: 2 3
# rows-short: 2
# timeout: 120
# A memory device under a mounted file system keeps its contents over restarts and a SIGKILL: its memfd waits in systemd's
# store of descriptors. The char device never does, nor a ring. A stop empties the store.
. "$VM_LIB/common.sh"
. "$VM_LIB/service.sh"
cat >mem.conf <<-EOT
	[Device]
	Size=64M
	[Backend]
	Type=memory
	[Queues]
	Count=2
	Depth=16
EOT
show() { systemctl show -P "$1" ublk@mem.service; }
node=$(start_device mem.conf)
[[ $(show NFileDescriptorStore) == 1 ]]
mkfs.ext4 -q "$node"
mkdir mnt
mount "$node" mnt
at_exit umount -q -l "$WORK/mnt"
head -c 20M /dev/urandom >mnt/a
sync -f mnt/a
(cd mnt && sha256sum a) >sums
seq=$(cat "/sys/block/${node#/dev/}/diskseq")
check() {
	[[ $(show NFileDescriptorStore) == 1 && $(realpath /dev/ublk/mem) == "$node" ]]
	[[ $(cat "/sys/block/${node#/dev/}/diskseq") == "$seq" ]]
	echo 3 >/proc/sys/vm/drop_caches
	(cd mnt && sha256sum -c --quiet ../sums)
}
for ((i = 0; i < 3; i++)); do
	pid=$(show MainPID)
	systemctl restart ublk@mem.service
	[[ $(show MainPID) != "$pid" ]]
	check
done
pid=$(show MainPID)
kill -KILL "$pid"
wait_until 60 is_back ublk@mem.service "$pid"
check
# nothing of the store is a char device or a ring
if systemd-analyze fdstore ublk@mem.service >store 2>&1; then
	cat store
	if grep -E 'ublkc|io_uring' store; then
		fail "the store has what keeps a device from being taken over"
	fi
fi
journalctl --sync
[[ $(journalctl -b -o cat _SYSTEMD_UNIT=ublk@mem.service | grep -c '^took over ublk device ') == 4 ]]
umount mnt
stop_name mem
[[ $(show NFileDescriptorStore) == 0 ]]
node=$(start_name mem)
[[ $(head -c 64M "$node" | tr -d '\0' | wc -c) == 0 ]] || fail "a new memory device is not empty"
