# guest: mini
# rows-short: 2
# timeout: 200
# timeout-long: 1200
# SIGUSR2: the server ends and leaves its device to the next one. Again and again, with more requests than it has tags:
# no error, no wrong block, and a kernel that has nothing to say. Up to Linux 6.14 a command must not be cancelled while
# a request for it is on its way (it is completed twice then: "refcount_t: underflow").
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
. "$VM_LIB/load.sh"
scratch_fs
rounds=$((VM_LONG ? 300 : 30))
define_file handed 96M 2 16
serve handed
node=$dev
: >all.log
torture_begin "$dev" --size=48M --workers=2 --depth=32 --max=64K
pauses_begin "$dev" --offset=80M
for ((i = 0; i < rounds; i++)); do
	comes_up handed
	pass_time $((RANDOM % 200))
	event "hand over $server"
	kill -USR2 "$server"
	got=0
	wait "$server" || got=$?
	((got == 0)) || fail "status $got: $(<handed.log)"
	next_server handed
	is_only_device "$node"
done
comes_up handed
torture_end
pauses_end 'a hand-over under load' "$rounds"
wait_until 20 nobody_waits
[[ $(took_over handed) == "$rounds" ]]
stop_and_look "$node"
