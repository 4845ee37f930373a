# guest: mini
# rows-short: 2
# timeout: 300
# [Fault] of a definition: a share of the requests of a kind fails, with the error that it names, and the data of the
# others are right; transfers that end early change nothing; requests are slow. It is said loudly at the start. Without
# the section there is nothing of it.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs

# define FAULT...
define() {
	cat >faulty.conf <<-E
		[Device]
		Size=64M
		[Backend]
		Type=file
		Path=$WORK/fs/faulty.img
		Create=sparse
		[Queues]
		Count=1
	E
	(($# == 0)) || printf '%s\n' '[Fault]' "$@" >>faulty.conf
}
warnings() { grep -c '^faulty: warning: .*FAULTS ARE INJECTED' faulty.log || true; }

define
serve faulty
[[ $(warnings) == 0 ]]
head -c 4M /dev/urandom >want
dd if=want of="$dev" bs=64K oflag=direct conv=fsync status=none
stop_server

# writes alone fail, one of five
define Seed=5 WriteErrors=20% Error=ENOSPC
serve faulty
[[ $(warnings) == 1 ]]
grep -q '20% of writes fail with ENOSPC' faulty.log
failed=0
for ((i = 0; i < 80; i++)); do
	if put "$dev" "$((2048 + i))" w oflag=direct 2>error; then
		has "$dev" "$((2048 + i))" w iflag=direct
	else
		grep -q ': No space left on device$' error
		((failed += 1))
		# not half of it either
		has "$dev" "$((2048 + i))" '\0' iflag=direct
	fi
done
((failed >= 5 && failed <= 35)) || fail "$failed of 80 writes failed"
[[ $(count faulty write.errors) == "$failed" && $(count faulty read.errors) == 0 ]]
[[ $(last_error faulty) == "write "*" 28" ]]
dd if="$dev" of=got bs=64K count=64 iflag=direct status=none
cmp want got
stop_server

# the same seed: the same requests of the next server fail; dd asks for one at a time
first=()
for seed in 9 9 10; do
	define Seed="$seed" ReadErrors=30%
	serve faulty
	begin=$(count faulty read.errors)
	pattern=
	for ((i = 0; i < 40; i++)); do
		if has "$dev" 2300 '\0' iflag=direct 2>error; then
			pattern+=.
		else
			pattern+=x
		fi
	done
	# what the kernel itself reads at the start, for partitions, is the same each time
	first+=("$begin $pattern")
	stop_server
done
[[ ${first[0]} == "${first[1]}" ]] || fail "one seed, two patterns: ${first[*]}"
[[ ${first[0]} != "${first[2]}" ]] || fail "two seeds, one pattern: ${first[0]}"

# all transfers end early, and each request takes 20 ms
define ShortTransfers=100% Latency=20ms
serve faulty
grep -q '100% of transfers end early' faulty.log
head -c 4M /dev/urandom >want
began=$(date +%s%N)
dd if=want of="$dev" bs=256K oflag=direct conv=fsync status=none
dd if="$dev" of=got bs=256K count=16 iflag=direct status=none
took_ms=$((($(date +%s%N) - began) / 1000000))
cmp want got
((took_ms >= 33 * 20)) || fail "33 requests of 20 ms within $took_ms ms"
[[ $(count faulty write.errors) == 0 && $(count faulty read.errors) == 0 ]]
stop_server
cmp -n 4M want fs/faulty.img
nothing_is_left
