# guest: mini
# rows-short: 1
# timeout: 90
# PollMicroseconds=: threads that look for requests before they sleep find each of them, in every way that requests come,
# and use no processor when there is nothing to do.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
batches=(no)
! has_feature BATCH_IO || batches+=(yes)
# of all threads of the server, in ticks of 10 ms
ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
for batch in "${batches[@]}"; do
	cat >polled.conf <<-X
		[Device]
		Size=32M
		LogicalBlockSize=4096
		[Queues]
		Count=2
		Depth=16
		BatchIO=$batch
		PollMicroseconds=500
		[Backend]
		Type=memory
	X
	serve polled
	torture --operations=1500 --workers=2 --depth=8 --max=32K "$dev" >torture.out 2>&1 || fail "$(<torture.out)"
	# one at a time, with nothing in between
	dd if="$dev" of=/dev/null bs=4096 count=500 iflag=direct status=none
	begin=$SECONDS
	past() { ((SECONDS >= begin + $1)); }
	wait_until 10 past 2
	before=$(ticks)
	wait_until 20 past 7
	used=$(($(ticks) - before))
	echo "figure: BatchIO=$batch: $used ticks of the processors in 5 s without requests"
	((used < 25)) || fail "the threads do not sleep"
	timeout 10 dd if="$dev" of=/dev/null bs=4096 count=10 iflag=direct status=none
	stop_and_look "$dev"
done
