# guest: mini
# rows-short: 2
# timeout: 240
# timeout-long: 12000
# smp: 4
# Random reads, writes, flushes, discards and zeroing, many at once, on every backend and with shapes from one
# queue of one tag to many of 1024: each block is what was written there last. At first the judge has to find a block
# that is wrong. VM_TORTURE_SECONDS is the time for each shape; there are 23 in the long form, of 60 s by default.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/nbd.sh"
scratch_fs
length=--operations=1500 # some 3 s
[[ -z ${VM_TORTURE_SECONDS-} && $VM_LONG == 0 ]] || length=--seconds=${VM_TORTURE_SECONDS:-60}
cpus=$(nproc)

# define BACKEND DIRECT QUEUES DEPTH BLOCK
define() {
	cat >torture.conf <<-X
		[Device]
		Size=48M
		LogicalBlockSize=$5
		[Queues]
		Count=$3
		Depth=$4
		[Backend]
		Type=$1
	X
	if [[ $1 == nbd ]]; then
		sed -i '/^Size=/d' torture.conf
		echo "Uri=nbd+unix:///?socket=$nbd_socket" >>torture.conf
		truncate -s 48M fs/torture.img
		nbd_serve file fs/torture.img
	fi
	[[ $1 == memory || $1 == nbd ]] || printf '%s\n' "Path=$WORK/fs/torture.img" Create=sparse "DirectIO=$2" >>torture.conf
}

# ran FILTER: true of the line of JSON
ran() { tail -n 1 torture.out | jq -e "$1" >/dev/null || fail "not so: $1: $(<torture.out)"; }

# try BACKEND DIRECT QUEUES DEPTH BLOCK TORTURE-OPTION...
try() {
	local bytes
	define "${@:1:5}"
	serve torture
	[[ $(find "/sys/block/${dev#/dev/}/mq" -mindepth 1 -maxdepth 1 | wc -l) == "$3" ]]
	echo "try: $*"
	torture "$length" "${@:6}" "$dev" >torture.out 2>&1 || fail "$*: $(<torture.out)"
	tail -n 1 torture.out
	ran '.mismatches == 0 and .errors == 0 and .checked_blocks > 1000 and .operations.read > 99 and
		.operations.write > 99 and ([.operations | .fua, .flush, .discard, .zero] | min) > 9'
	bytes=$(tail -n 1 torture.out | jq .written_bytes)
	[[ " $* " == *" --buffered "* ]] || (($(count torture write.bytes) >= bytes)) || fail "not all has arrived"
	(($(count torture discard.count) + $(count torture write_zeroes.count) > 0)) || fail "no discard has arrived"
	stop_and_look "$dev"
	[[ $1 != nbd ]] || nbd_kill
	rm -f fs/torture.img
}

# The judge, whose verdicts tests/tools/check-torture goes through: it looks at the device, not at its memory.
define file yes 1 16 512
serve torture
for how in lost stale; do
	expect_status 1 torture --operations=1500 --corrupt-one=$how "$dev" >torture.out 2>&1
	ran ".errors == 0 and .mismatches == 1 and .verdicts.$how == 1"
	grep -q "^mismatch at $(sed -n 's/^corrupted the block at //p' torture.out) (.*): $how: " torture.out
done
stop_and_look "$dev"
rm fs/torture.img

some=$((cpus < 8 ? cpus : 8))
try memory - 1 1 512 --discard-zeroes
try memory - "$some" 1024 4096 --workers=4 --depth=256 --max=48K --discard-zeroes
try file yes "$some" 16 4096 --workers=2 --depth=32
try file yes 1 1 512 --depth=4
try file no "$some" 1024 512 --workers=4 --depth=128 --max=64K
try file no 2 16 4096 --buffered
try nbd - 2 64 4096 --workers=2 --depth=32 --max=64K
if ((VM_LONG)); then
	for ((queues = 1; queues <= some; queues++)); do
		try file yes "$queues" 16 512 --workers=4 --depth=64
		try memory - "$queues" 1024 512 --workers=4 --depth=64
		try nbd - "$queues" 64 512 --workers=4 --depth=64
	done
fi
