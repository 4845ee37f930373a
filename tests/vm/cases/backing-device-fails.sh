# guest: mini
# rows-short: 1
# timeout: 120
# A backing device that fails, through device-mapper: for a stretch, now and then, by kind. Each user gets EIO for what
# has failed and nothing else, the server counts exactly that, and with a sound table below all works again, without a
# restart. The stop does not hang.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
modprobe -a dm-mod dm-flakey
sectors=131072

# below TABLE: from now on it lies under the device
below() {
	if [[ -e /dev/mapper/below ]]; then
		dmsetup suspend below
		dmsetup load below --table "$1"
		dmsetup resume below
	else
		dmsetup create below --table "$1"
		at_exit dmsetup remove --retry below
	fi
}
sound="0 $sectors linear $SCRATCH0 0"
cat >bad.conf <<-E
	[Device]
	LogicalBlockSize=4096
	[Backend]
	Type=file
	Path=/dev/mapper/below
	[Queues]
	Count=1
E
below "$sound"
serve bad
for block in 0 2047 2048 2055 2056 16383; do
	put "$dev" "$block" a oflag=direct,dsync
done

# a stretch of 8 blocks
below "0 16384 linear $SCRATCH0 0
16384 64 error
16448 $((sectors - 16448)) linear $SCRATCH0 16448"
began=$SECONDS
fails_with 'Input/output error' has "$dev" 2048 a iflag=direct
fails_with 'Input/output error' put "$dev" 2055 b oflag=direct
[[ $(last_error bad) == "write $((2055 * 4096)) 5" ]]
# one request, of which a part fails
fails_with 'Input/output error' dd if="$dev" of=/dev/null bs=64K skip=$((2047 * 4096)) count=1 \
	iflag=direct,skip_bytes status=none
fails_with 'Input/output error' put "$dev" 2050 b conv=fsync
has "$dev" 2047 a iflag=direct
has "$dev" 2056 a iflag=direct
has "$dev" 16383 a iflag=direct
put "$dev" 2056 c oflag=direct,dsync
reads=$(count bad read.errors) writes=$(count bad write.errors)
((reads >= 2 && writes >= 2))
[[ $(count bad flush.errors) == 0 ]]
report_is_rare bad $((SECONDS - began))
reports bad | head -n 1 |
	grep -x 'bad: error: 1 request failed (1 in all), the last: read at byte 8388608 on queue 0: Input/output error'
below "$sound"
has "$dev" 2048 a iflag=direct
put "$dev" 2055 d oflag=direct,dsync
has "$dev" 2055 d iflag=direct
has "$dev" 2056 c iflag=direct
[[ "$(count bad read.errors) $(count bad write.errors)" == "$reads $writes" ]]

# all of it: reads, writes and flushes; then reads only
below "0 $sectors flakey $SCRATCH0 0 0 3600"
fails_with 'Input/output error' has "$dev" 0 a iflag=direct
fails_with 'Input/output error' put "$dev" 0 e oflag=direct
fails_with 'Input/output error' dd if=/dev/null of="$dev" conv=fsync,notrunc status=none
((reads < $(count bad read.errors) && writes < $(count bad write.errors) && $(count bad flush.errors) > 0))
below "0 $sectors flakey $SCRATCH0 0 0 3600 1 error_reads"
fails_with 'Input/output error' has "$dev" 0 a iflag=direct
put "$dev" 0 e oflag=direct,dsync
# a device that lies: nobody can know, and nothing of ours pretends that the data is there
below "0 $sectors flakey $SCRATCH0 0 0 3600 1 drop_writes"
errors=$(count bad write.errors)
put "$dev" 1 f oflag=direct,dsync
[[ $(count bad write.errors) == "$errors" ]]
below "$sound"
has "$dev" 0 e iflag=direct
has "$dev" 1 '\0' iflag=direct

# a second of service, a second without, for as long as it takes to see each often: who was told that a write is done
# finds it, and the server has counted those that were told otherwise, one by one
below "0 $sectors flakey $SCRATCH0 0 1 1"
errors=$(count bad write.errors)
block=100 good=() n_bad=0 end=$((SECONDS + 60))
until ((${#good[@]} >= 20 && n_bad >= 20)); do
	((SECONDS < end)) || fail "${#good[@]} writes done and $n_bad failed in a minute"
	if put "$dev" "$block" g oflag=direct 2>complaint; then
		good+=("$block")
	else
		grep -q ': Input/output error$' complaint
		n_bad=$((n_bad + 1))
	fi
	block=$((block + 1))
done
below "$sound"
[[ $(count bad write.errors) == $((errors + n_bad)) ]]
for block in "${good[@]}"; do
	has "$dev" "$block" g iflag=direct
done

# stopped while it fails: what was written may be lost, which the status says
below "0 $sectors flakey $SCRATCH0 0 0 3600"
kill -TERM "$server"
end_server 1
grep -x 'bad: error: cannot write /dev/mapper/below to stable storage: Input/output error: its last writes may be lost' \
	bad.log
below "$sound"
nothing_is_left
serve bad
has "$dev" 2055 d iflag=direct
stop_server
nothing_is_left
