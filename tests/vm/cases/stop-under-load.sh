# guest: mini
# rows-short: 1
# timeout: 90
# SIGTERM while fio writes: the device is in use, so it is served on as if nothing had happened, fio sees no error and
# finds all that it wrote, and when the last user has closed the device the server ends.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
cat >load.conf <<-X
	[Device]
	Size=32M
	[Backend]
	Type=file
	Path=$WORK/fs/load.img
	Create=sparse
	[Queues]
	Count=2
	Depth=16
X
serve load

# One fio after another, under one descriptor that stays open, until somebody has seen enough.
use() {
	local n=0
	exec 9<"$dev"
	until [[ -e enough ]]; do
		fio --name=load --filename="$dev" --rw=randwrite --direct=1 --ioengine=libaio --iodepth=16 \
			--bsrange=4k-64k --size=12M --numjobs=2 --offset_increment=16M --verify=crc32c --verify_fatal=1 \
			--verify_state_save=0 --randseed=$n >fio.log 2>&1 || return
		n=$((n + 1))
	done
	echo "$n" >rounds
}
use &
user=$!
at_exit touch enough
wait_for_more() { (($(count load write.count) > $1)); }
wait_until 60 wait_for_more 50

kill -TERM "$server"
wait_until 60 grep -F "load: notice: $dev is open in " load.log
seen=$(count load write.count)
wait_until 60 wait_for_more $((seen + 500))
# told again it is as patient
kill -TERM "$server"
seen=$(count load write.count)
wait_until 60 wait_for_more $((seen + 500))
! is_gone "$server" || fail "the server has left its users"
touch enough
wait "$user" || fail "fio: $(<fio.log)"
(($(<rounds) > 0))
end_server 0
[[ ! -e $dev ]]
nothing_is_left
! grep -E 'error|warning' load.log | grep -v 'there is no /dev/ublk/load' || fail "something went wrong"
grep -F 'serving it until that ends' load.log

# what fio wrote last is in the file: it can be verified there
[[ $(allocated fs/load.img) -ge $((24 << 20)) ]]
fio --name=load --filename=fs/load.img --rw=randwrite --ioengine=psync --bsrange=4k-64k --size=12M --numjobs=2 \
	--offset_increment=16M --verify=crc32c --verify_only --verify_fatal=1 --verify_state_save=0 \
	--randseed=$(($(<rounds) - 1)) >fio.log 2>&1 || fail "fio: $(<fio.log)"
