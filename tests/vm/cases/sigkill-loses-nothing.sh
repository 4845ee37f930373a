# guest: mini
# timeout: 200
# timeout-long: 2400
# SIGKILL of the server at random moments, with a new one started at once, as systemd would: its users wait, and see no
# error and no wrong block. The device keeps its number, and nothing of the dead ones is left.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
scratch_fs
kills=$((VM_LONG ? 200 : 20))
define_file killed 96M 2 16
serve killed
node=$dev
: >all.log
# kill_one WAIT: and start the next. With WAIT, only when this one is up and has served for a random time.
kill_one() {
	if [[ $1 == wait ]]; then
		comes_up killed
		pass_time $((RANDOM % 400))
	else
		pass_time $((RANDOM % 200))
	fi
	! is_gone "$server" || fail "a server ended by itself: $(cat all.log killed.log)"
	event "kill $server"
	kill -KILL "$server"
	{ wait "$server"; } 2>/dev/null || (($? == 137))
	next_server killed
}
ms_of() {
	local start=${EPOCHREALTIME/./}
	"$@"
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

# The figure, without a load that takes the processors from the new server.
pauses_begin "$dev" --offset=80M
for ((i = 0; i < (VM_LONG ? 50 : 5); i++)); do
	kill_one wait
done
comes_up killed
pass_time 200
pauses_end 'SIGKILL' "$i"
echo "figure: ublkd --version takes $(for i in {1..5}; do ms_of ublkd --version | tail -n 1; done | median) ms"

# More requests than the device has tags: all of them can be in the server when it dies.
torture_begin "$dev" --size=48M --workers=2 --depth=32 --max=64K
fio_begin "$dev" --offset=48M --size=24M --io_size=6M
pauses_begin "$dev" --offset=80M
for ((i = 0; i < kills; i++)); do
	# 6.12 does not survive a second takeover after one that was killed: there the device is given up
	if ((VM_ROW == 1 || i % 4)); then
		kill_one wait
	else
		kill_one any
	fi
	is_only_device "$node"
done
comes_up killed
torture_end
fio_end
pauses_end 'SIGKILL under load' "$kills"
wait_until 20 nobody_waits
(($(took_over killed) >= kills / 2))
! kernel_log | grep -E "(I/O|Buffer I/O) error.*${node#/dev/}" || fail "the kernel has seen errors"
[[ $(device_of killed) == "$node" ]]
stop_and_look "$node"
# the next one has the same number
serve killed
[[ $dev == "$node" ]]
stop_and_look "$node"
