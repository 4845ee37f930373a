# guest: mini
# rows-short: 1
# timeout: 120
# The image is truncated under the server, within a block: reads behind its end get EIO and so does a flush, since
# data may be lost; the rest goes on; all is counted and told. With its size back, the file serves again.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
mkfs.ext4 -q -N 64 "$SCRATCH0" 96M
mkdir fs
mount "$SCRATCH0" fs
at_exit umount fs

for direct in yes no; do
	cat >cut.conf <<-E
		[Device]
		Size=64M
		LogicalBlockSize=4096
		[Backend]
		Type=file
		Path=$WORK/fs/cut.img
		Create=sparse
		DirectIO=$direct
		[Queues]
		Count=1
	E
	serve cut
	for block in 0 1023 1024 1025 2000 16383; do
		put "$dev" "$block" a oflag=direct
	done
	put "$dev" 1 b oflag=direct conv=fsync
	(($(count cut flush.count) >= 1))

	began=$SECONDS
	truncate -s $((1024 * 4096 + 100)) fs/cut.img
	# behind the end, at the end, and across it
	fails_with 'Input/output error' has "$dev" 2000 a iflag=direct
	fails_with 'Input/output error' has "$dev" 16383 a iflag=direct
	fails_with 'Input/output error' has "$dev" 1024 a iflag=direct
	fails_with 'Input/output error' dd if="$dev" of=/dev/null bs=1M skip=4 count=1 iflag=direct status=none
	fails_with 'Input/output error' dd if="$dev" of=across bs=128K skip=$((1008 * 4096)) count=1 \
		iflag=direct,skip_bytes status=none
	(($(count cut read.errors) >= 5))
	[[ $(count cut write.errors) == 0 ]]
	# before the end
	has "$dev" 0 a iflag=direct
	has "$dev" 1023 a iflag=direct
	put "$dev" 2 c oflag=direct
	has "$dev" 2 c iflag=direct
	# a flush says that not all is there, whatever it was for
	fails_with 'Input/output error' put "$dev" 3 d oflag=direct conv=fsync
	(($(count cut flush.errors) >= 1))
	[[ $(last_error cut) == "flush 0 5" ]]
	reports cut | head -n 1 | grep -x 'cut: error: 1 request failed (1 in all), the last: read at byte 8192000 on queue 0: Input/output error'
	if [[ $direct == yes ]]; then
		wait_until 60 all_reported cut $(($(count cut read.errors) + $(count cut flush.errors)))
		reports cut | tail -n 1 | grep ' the last: flush on queue 0: Input/output error'
	fi
	report_is_rare cut $((SECONDS - began))

	# its size again: what was cut off is zeros, all else is as it was
	truncate -s 64M fs/cut.img
	errors="$(count cut read.errors) $(count cut flush.errors)"
	has "$dev" 1023 a iflag=direct
	has "$dev" 1025 '\0' iflag=direct
	has "$dev" 16383 '\0' iflag=direct
	put "$dev" 2000 e oflag=direct conv=fsync
	has "$dev" 2000 e iflag=direct
	[[ "$(count cut read.errors) $(count cut flush.errors)" == "$errors" ]]

	# stopped while the file is too short; what was not told yet is told now
	truncate -s 1M fs/cut.img
	fails_with 'Input/output error' has "$dev" 1023 a iflag=direct
	errors=$(($(count cut read.errors) + $(count cut flush.errors)))
	# without TRY_STOP_DEV the server writes back by itself, with a flush
	has_feature SAFE_STOP_DEV || errors=$((errors + 1))
	kill -TERM "$server"
	end_server 1
	grep -q 'cut.img is shorter than its device: ' cut.log
	all_reported cut "$errors"
	[[ $(stat -c %s fs/cut.img) == $((1 << 20)) ]]
	has fs/cut.img 1 b
	has fs/cut.img 2 c
	has fs/cut.img 3 d
	rm fs/cut.img
	nothing_is_left
done
