# guest: mini
# rows-short: 2
# timeout: 180
# A sparse image on a file system that is full: whoever writes gets ENOSPC; the server
# counts it and tells it once in ten seconds; what has its space goes on, and with space again all does. The stop
# does not hang, also not while there is no space.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
mkfs.ext4 -q -m 0 -N 64 "$SCRATCH0" 48M
mkdir fs
mount "$SCRATCH0" fs
at_exit umount fs

fill() {
	# blocks that are about to be free (a stop trims, a journal commits) count only after sync
	sync -f fs
	fails_with 'No space left on device' dd if=/dev/zero of=fs/filler oflag=append conv=notrunc bs=64K
	fails_with 'No space left on device' dd if=/dev/zero of=fs/filler oflag=append conv=notrunc,fsync bs=4K
}

for direct in yes no; do
	cat >full.conf <<-E
		[Device]
		Size=64M
		LogicalBlockSize=4096
		[Backend]
		Type=file
		Path=$WORK/fs/full.img
		Create=sparse
		DirectIO=$direct
		[Queues]
		Count=1
	E
	serve full
	put "$dev" 0 a oflag=direct conv=fsync
	put "$dev" 8000 b oflag=direct conv=fsync
	fill
	began=$SECONDS
	[[ $(count full write.errors) == 0 ]]

	# many at once: the user of each is told
	for block in {4000..4019}; do
		fails_with 'No space left on device' put "$dev" "$block" c oflag=direct,dsync
	done
	n=$(count full write.errors)
	((n >= 20))
	[[ $(last_error full) == "write $((4019 * 4096)) 28" ]]
	# through the page cache the write itself succeeds; fsync tells, but of a block device any error as EIO
	# (mark_buffer_write_io_error(), in all kernels)
	fails_with 'Input/output error' put "$dev" 5000 d conv=fsync
	((n < $(count full write.errors)))
	n=$(count full write.errors)
	# the second line comes ten seconds after the first: to wait for it once is enough
	if [[ $direct == yes ]]; then
		wait_until 60 all_reported full "$n"
		reports full | tail -n 1 | grep ' the last: write at byte 20480000 on queue 0: No space left on device'
	fi
	report_is_rare full $((SECONDS - began))
	# the first line is that of the first request
	reports full | head -n 1 | grep -x 'full: error: 1 request failed (1 in all), the last: write at byte 16384000 on queue 0: No space left on device'

	# the device goes on
	has "$dev" 0 a iflag=direct
	has "$dev" 8000 b iflag=direct
	has "$dev" 4000 '\0' iflag=direct
	put "$dev" 0 e oflag=direct,dsync
	has "$dev" 0 e iflag=direct
	[[ $(count full read.errors) == 0 ]]

	# stopped while there is no space, which tells the rest; started again while there is none
	n=$(count full write.errors)
	stop_server
	all_reported full "$n"
	serve full
	has "$dev" 0 e iflag=direct
	fails_with 'No space left on device' put "$dev" 4000 f oflag=direct,dsync

	# with space again
	rm fs/filler
	sync -f fs
	put "$dev" 4000 g oflag=direct,dsync
	has "$dev" 4000 g iflag=direct
	put "$dev" 5000 h conv=fsync
	n=$(count full write.errors)
	put "$dev" 4001 i oflag=direct,dsync
	[[ $(count full write.errors) == "$n" ]]
	stop_server
	has fs/full.img 4000 g
	has fs/full.img 5000 h
	has fs/full.img 8000 b
	rm fs/full.img
	nothing_is_left
done
