# guest: mini
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
cat >handed.conf <<-X
	[Device]
	Size=96M
	[Queues]
	Count=2
	Depth=16
	[Backend]
	Type=file
	Path=$WORK/fs/handed.img
	Create=sparse
X
serve handed
node=$dev
: >all.log
is_up() { grep -q 'ready: ' handed.log; }
torture_begin "$dev" --size=48M --workers=2 --depth=32 --max=64K
pauses_begin "$dev" --offset=80M
for ((i = 0; i < rounds; i++)); do
	wait_until 60 is_up || fail "not up: $(cat all.log handed.log)"
	pass_time $((RANDOM % 200))
	event "hand over $server"
	kill -USR2 "$server"
	got=0
	wait "$server" || got=$?
	((got == 0)) || fail "status $got: $(<handed.log)"
	mv handed.log last.log
	ublkd serve handed >handed.log 2>&1 &
	server=$!
	echo "$server" >handed.pid
	cat last.log >>all.log
	[[ $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" ]] || fail "devices: $(ls /sys/class/ublk-char)"
done
wait_until 60 is_up || fail "not up: $(<handed.log)"
torture_end
pauses_end 'a hand-over under load' "$rounds"
wait_until 20 nobody_waits
cat handed.log >>all.log
[[ $(grep -c 'took over ublk device' all.log) == "$rounds" ]]
stop_and_look "$node"
