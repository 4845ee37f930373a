# guest: mini
# rows: 1 2
# rows-short: 1
# timeout: 200
# timeout-long: 1800
# smp: 8
# Torture while its device is, in turn, reloaded with other limits and a larger size, handed over to the next server and
# killed: each block is what was written there last, with one queue to eight. A memory device by hand has nobody to keep
# its memory, so it is only reloaded.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
scratch_fs
rounds=$((VM_LONG ? 6 : 2))
can_grow=$(has_feature UPDATE_SIZE && echo 1 || echo 0)
n_changes=0

# define TYPE QUEUES DEPTH SIZE LIMITS: into the file that the server reads
define() {
	mkdir -p /etc/ublk
	{
		printf '[Device]\nSize=%sM\n[Queues]\nCount=%s\nDepth=%s\n[Backend]\nType=%s\n' "$4" "$2" "$3" "$1"
		[[ $1 == memory ]] || printf 'Path=%s\nCreate=sparse\n' "$WORK/fs/torture.img"
		printf '[Limits]\n'
		[[ -z $5 ]] || printf '%s\n' "$5"
	} >"$WORK/torture.conf"
	cp "$WORK/torture.conf" /etc/ublk/torture.conf
}
limits=('WriteBandwidth=32M' 'ReadIOPS=2000' '' $'ReadBandwidth=16M\nWriteIOPS=1000')
size_of() { echo $(($(<"/sys/block/${dev#/dev/}/size") >> 11)); }

# reload TYPE QUEUES DEPTH
reload() {
	size=$((size + 4))
	n_changes=$((n_changes + 1))
	define "$@" "$size" "${limits[n_changes % ${#limits[@]}]}"
	ublkd reload torture || fail "$(<torture.log)"
	((can_grow == 0)) || (($(size_of) == size)) || fail "the device has $(size_of) MiB instead of $size"
}

# across TYPE QUEUES DEPTH TORTURE-OPTION...
across() {
	local i got n_takeovers=0
	size=48
	define "${@:1:3}" $size ''
	serve torture
	node=$dev
	[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == "$2" ]]
	: >all.log
	torture_begin "$dev" --size=40M "${@:4}"
	for ((i = 0; i < rounds; i++)); do
		pass_time $((RANDOM % 300))
		reload "${@:1:3}"
		[[ $1 != memory ]] || continue
		pass_time $((RANDOM % 300))
		got=0
		kill -USR2 "$server"
		wait "$server" || got=$?
		((got == 0)) || fail "status $got: $(<torture.log)"
		next_server torture
		comes_up torture
		pass_time $((RANDOM % 300))
		kill -KILL "$server"
		{ wait "$server"; } 2>/dev/null || (($? == 137))
		next_server torture
		comes_up torture
		n_takeovers=$((n_takeovers + 2))
		is_only_device "$node"
	done
	pass_time 300
	echo "try: $*"
	torture_end
	wait_until 20 nobody_waits
	(($(took_over torture) == n_takeovers))
	stop_and_look "$node"
	rm -f fs/torture.img
}

if ((VM_LONG)); then
	for ((queues = 1; queues <= 8; queues++)); do
		across file "$queues" $((RANDOM % 2 ? 16 : 128)) --workers=2 --depth=32 --max=64K
	done
else
	across file 1 4 --workers=1 --depth=8 --max=64K
	across file 8 16 --workers=2 --depth=32 --max=64K
fi
across memory 3 64 --workers=2 --depth=32 --max=64K
