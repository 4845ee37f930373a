# guest: mini
# rows-short: 2
# timeout: 240
# timeout-long: 2400
# Each way in which data and requests can go between the kernel and the server, where the kernel has it: torture while
# the server is killed, and hands over, in turns. What is not recoverable by hand, memory, is tortured only.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
scratch_fs
deaths=$((VM_LONG ? 50 : 3))

# define BACKEND DIRECT MODE BATCH
define() {
	cat >mode.conf <<-X
		[Device]
		Size=48M
		LogicalBlockSize=4096
		[Queues]
		Count=2
		Depth=32
		CopyMode=$3
		BatchIO=$4
		[Backend]
		Type=$1
	X
	[[ $1 == memory ]] || printf '%s\n' "Path=$WORK/fs/mode.img" Create=sparse "DirectIO=$2" >>mode.conf
}
is_up() { grep -q 'ready: ' mode.log; }
# next SIGNAL: the server goes, and another one takes over
next() {
	wait_until 60 is_up || fail "not up: $(<mode.log)"
	pass_time $((RANDOM % 300))
	! is_gone "$server" || fail "a server ended by itself: $(<mode.log)"
	kill "-$1" "$server"
	{ wait "$server"; } 2>/dev/null || (($? == 137)) || fail "$1: $(<mode.log)"
	cat mode.log >>all.log
	serve_begin mode
}
# has FLAG: the device was made with it
has() { ublkctl status mode --json | jq -e --arg f "$1" 'if type == "array" then .[0] else . end | .features | index($f)' >/dev/null; }

# try BACKEND DIRECT MODE BATCH
try() {
	define "$@"
	: >all.log
	serve mode
	echo "try: $*"
	[[ $3 != zero-copy ]] || has AUTO_BUF_REG || fail "no zero copy"
	[[ $3 == copy ]] || has USER_COPY || fail "no user copy"
	[[ $3 != copy ]] || ! has USER_COPY || fail "not what was asked for"
	[[ $4 == no ]] || has BATCH_IO || fail "no batches"
	torture_begin "$dev" --workers=2 --depth=24 --max=128K
	if [[ $1 == file ]]; then
		for ((i = 0; i < deaths; i++)); do
			next KILL
			next USR2
		done
		wait_until 60 is_up || fail "not up: $(<mode.log)"
	fi
	pass_time 1500
	torture_end
	cat mode.log >>all.log
	[[ $1 == memory ]] || (($(grep -c 'took over ublk device' all.log) == 2 * deaths)) || fail "$(<all.log)"
	stop_and_look "$dev"
	rm -f fs/mode.img
}

# what auto takes where a read wants no data: nothing is copied then
printf '[Device]\nSize=16M\n[Backend]\nType=null\nFill=none\n' >mode.conf
serve mode
has USER_COPY || fail "a copy of nothing"
dd if="$dev" of=/dev/null bs=64K count=16 iflag=direct status=none
dd if=/dev/zero of="$dev" bs=64K count=16 oflag=direct status=none
stop_and_look "$dev"

batches=(no)
! has_feature BATCH_IO || batches+=(yes)
for batch in "${batches[@]}"; do
	try memory - copy "$batch"
	try memory - user-copy "$batch"
	try file yes copy "$batch"
	try file no user-copy "$batch"
	! has_feature AUTO_BUF_REG || try file yes zero-copy "$batch"
	! has_feature AUTO_BUF_REG || try file no zero-copy "$batch"
done
wait_until 20 nobody_waits
