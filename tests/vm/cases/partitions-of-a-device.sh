# guest: mini
# rows-short: 2
# timeout: 60
# A partition table on a device: its partitions are there at once and after a new start, their data lies in the
# file where the table says, and a file system on one of them keeps the device from being stopped.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
mkdir mnt
try() {
	local block=$1
	cat >parts.conf <<-X
		[Device]
		Size=64M
		LogicalBlockSize=$block
		[Backend]
		Type=file
		Path=$WORK/fs/parts.img
		Create=sparse
	X
	serve parts
	printf 'label: gpt\nstart=1MiB, size=8MiB, name=raw\nstart=16MiB, size=32MiB, name=files\n' | sfdisk -q "$dev"
	wait_until 10 test -b "${dev}p2"
	[[ $(blockdev --getsize64 "${dev}p1") == $((8 << 20)) ]]
	[[ $(blockdev --getsize64 "${dev}p2") == $((32 << 20)) ]]
	[[ ! -e ${dev}p3 ]]

	head -c 8M /dev/urandom >data
	dd if=data of="${dev}p1" bs=1M oflag=direct status=none
	cmp -i 0:$((1 << 20)) -n $((8 << 20)) data fs/parts.img
	mkfs.ext4 -q "${dev}p2"
	mount "${dev}p2" mnt
	at_exit umount -q mnt
	cp data mnt/data
	sync -f mnt

	kill -TERM "$server"
	wait_until 30 grep -F "$dev is mounted on $WORK/mnt; serving it until that ends" parts.log
	echo more >mnt/more
	umount mnt
	end_server 0
	nothing_is_left
	[[ ! -e $dev && ! -e ${dev}p1 && ! -e ${dev}p2 ]]

	# the kernel finds them by itself; the file has them, too
	serve parts
	wait_until 10 test -b "${dev}p2"
	mount -o ro "${dev}p2" mnt
	cmp data mnt/data
	[[ $(<mnt/more) == more ]]
	umount mnt
	cmp -n $((8 << 20)) data "${dev}p1"
	stop_and_look "$dev"
	[[ ! -e ${dev}p1 ]]
	dd if=fs/parts.img of=part.img bs=1M skip=16 count=32 status=none
	e2fsck -fn part.img >repair 2>&1 || fail "$(<repair)"
	rm fs/parts.img
}
try 512
try 4096
