# guest: mini
# timeout: 60
# A device with something volatile below advertises a write cache and FUA; each flush and each FUA write then ends
# with a flush of the disk below, before it is answered. A memory device has nothing to flush, and says so.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
# flushes that the disk below has answered
disk_flushes() { awk '{ print $16 }' "/sys/block/${disk#/dev/}/stat"; }
trace=/sys/kernel/tracing
trace_on() {
	echo 0 >$trace/tracing_on
	echo >$trace/trace
	# dev_t of the kernel: 20 bits for the minor
	echo "dev == $(((16#$(stat -c %t "$dev") << 20) | 16#$(stat -c %T "$dev")))" >$trace/events/block/block_rq_issue/filter
	echo 1 >$trace/events/block/block_rq_issue/enable
	echo 1 >$trace/tracing_on
}
# traced: what the driver was given since, one word each: W is a write, FF a flush, the F behind W is FUA
traced() {
	echo 0 >$trace/tracing_on
	awk '/block_rq_issue:/ { sub(/.*block_rq_issue: /, ""); print $2 }' $trace/trace
}
at_exit sh -c "echo 0 >$trace/events/block/block_rq_issue/enable; echo 0 >$trace/events/block/block_rq_issue/filter"

# try DISK
try() {
	local disk=$1 flushes below writes
	[[ $(queue_attr "$disk" write_cache) == 'write back' ]]
	serve cache
	[[ $(queue_attr "$dev" write_cache) == 'write back' ]]
	[[ $(queue_attr "$dev" fua) == 1 ]]
	[[ $(ublkctl status cache --json | jq -c '[.limits | .write_cache, .fua]') == '[true,true]' ]]
	put "$dev" 1 a oflag=direct conv=fsync # its block is allocated
	sync

	# a write alone is not flushed
	flushes=$(count cache flush.count) below=$(disk_flushes)
	put "$dev" 1 b oflag=direct
	[[ $(count cache flush.count) == "$flushes" ]]
	[[ $(disk_flushes) == "$below" ]]

	# fsync: one flush, which goes down
	trace_on
	put "$dev" 1 c oflag=direct conv=fsync
	traced >words
	[[ $(count cache flush.count) == $((flushes + 1)) ]]
	(($(disk_flushes) > below))
	grep -qxE 'FF.*' words
	! grep -E '^W.*F' words || fail "a write without O_DSYNC came as FUA"

	# O_DSYNC: a FUA write, and then a flush (blkdev_write_iter()), both with a flush below
	flushes=$(count cache flush.count) below=$(disk_flushes) writes=$(count cache write.count)
	trace_on
	put "$dev" 1 d oflag=direct,dsync
	traced >words
	[[ $(count cache write.count) == $((writes + 1)) ]]
	[[ $(grep -cE '^W.*F' words) == 1 ]] || fail "no FUA write: $(<words)"
	[[ $(count cache flush.count) == $((flushes + $(grep -cE '^FF' words || true))) ]]
	(($(disk_flushes) - below > $(count cache flush.count) - flushes)) ||
		fail "the FUA write was not flushed: $(($(disk_flushes) - below)) flushes below"
	has "$dev" 1 d iflag=direct
	stop_and_look "$dev"
}

# the disk itself
printf '[Device]\nLogicalBlockSize=512\n[Backend]\nType=file\nPath=%s\n[Queues]\nCount=1\n' "$SCRATCH1" >cache.conf
try "$SCRATCH1"
for direct in yes no; do
	cat >cache.conf <<-X
		[Device]
		Size=16M
		[Backend]
		Type=file
		Path=$WORK/fs/cache.img
		Create=sparse
		DirectIO=$direct
		[Queues]
		Count=1
	X
	try "$SCRATCH0"
done

printf '[Device]\nSize=16M\n[Backend]\nType=memory\n' >cache.conf
serve cache
[[ $(queue_attr "$dev" write_cache) == 'write through' ]]
[[ $(queue_attr "$dev" fua) == 0 ]]
trace_on
put "$dev" 1 e oflag=direct,dsync
put "$dev" 1 e oflag=direct conv=fsync
traced >words
[[ $(grep -c '^W' words) == 2 ]]
! grep F words || fail "a device without a write cache got a flush or FUA"
[[ $(count cache flush.count) == 0 ]]
stop_and_look "$dev"
