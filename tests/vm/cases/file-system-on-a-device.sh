# guest: mini
# rows-short: 1
# timeout: 150
# timeout-long: 1800
# ext4 and xfs on a device: what sync and fsync promise reaches the server as a flush, what was written is read back
# through it, also when several write at once, and the image is a sound file system when the device is gone.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
mkdir mnt
mb=3
((VM_LONG == 0)) || mb=24
for i in 0 1 2 3; do
	head -c "${mb}M" /dev/urandom >"data$i"
done

# flushes COMMAND...: and the server is told to
flushes() {
	local before
	before=$(count fs flush.count)
	"$@"
	(($(count fs flush.count) > before)) || fail "no flush from: $*"
}

# read_back FILE DATA: from no cache of the file system
read_back() {
	local before
	before=$(count fs read.bytes)
	cmp "$1" "$2"
	(($(count fs read.bytes) - before >= mb << 20)) || fail "$1 was not read from the server"
}

try() {
	local kind=$1 block=$2 queues=$3 direct=$4 i
	local -a writers
	cat >fs.conf <<-X
		[Device]
		Size=320M
		LogicalBlockSize=$block
		[Backend]
		Type=file
		Path=$WORK/fs/image
		Create=sparse
		DirectIO=$direct
		[Queues]
		Count=$queues
	X
	serve fs
	case $kind in
	ext4) mkfs.ext4 -q "$dev" ;;
	xfs) mkfs.xfs -q "$dev" ;;
	esac
	mount "$dev" mnt
	at_exit umount -q mnt

	# what is not synced yet may be anywhere; sync -f and fsync say where it is
	cp data0 mnt/synced
	flushes sync -f mnt
	flushes dd if=data1 of=mnt/fsynced bs=64K conv=fsync status=none
	echo 3 >/proc/sys/vm/drop_caches
	read_back mnt/synced data0
	read_back mnt/fsynced data1

	for i in 0 1 2 3; do
		dd if="data$i" of="mnt/writer$i" bs=$(((i + 1) * 16384)) conv=fsync status=none &
		writers[i]=$!
	done
	for i in 0 1 2 3; do
		wait "${writers[i]}"
	done
	umount mnt
	mount "$dev" mnt
	for i in 0 1 2 3; do
		read_back "mnt/writer$i" "data$i"
	done
	rm mnt/synced
	umount mnt

	mount -o ro "$dev" mnt
	[[ ! -e mnt/synced ]]
	cmp mnt/fsynced data1
	umount mnt
	[[ $(count fs 'write.errors') == 0 && $(count fs 'read.errors') == 0 && $(count fs 'flush.errors') == 0 ]]
	stop_and_look "$dev"
	case $kind in
	ext4) e2fsck -fn fs/image ;;
	xfs) xfs_repair -n -f fs/image ;;
	esac >repair 2>&1 || fail "$(<repair)"
	rm fs/image
}

try ext4 512 2 yes
try xfs 4096 1 no
if ((VM_LONG)); then
	for kind in ext4 xfs; do
		for block in 512 4096; do
			for queues in 1 2; do
				for direct in yes no; do
					try "$kind" "$block" "$queues" "$direct"
				done
			done
		done
	done
fi
