# guest: mini
# rows: 1 2
# rows-short: 1
# timeout: 60
# What "ublkctl stats" says of a device is what the kernel has counted above it, under load; it is there while the
# server is stopped, and dead, and goes on with the next one, together with the pause that users had.
. "$VM_LIB/common.sh"
cat >"$WORK/counted.conf" <<-E
	[Device]
	Size=64M
	[Backend]
	Type=file
	Path=$WORK/counted.img
	Create=sparse
	[Queues]
	Count=2
	Depth=32
	[Recovery]
	Mode=reissue
E
node=$(start_device "$WORK/counted.conf")
pid=$(<"$WORK/counted.pid")
stat() { awk -v n="$1" '{ print $n }' "/sys/block/${node#/dev/}/stat"; }
json() { ublkctl stats counted --json | jq -r ".[0] | $1"; }
ours() { json ".total.operations | \"\(.read.count) \(.read.bytes) \(.write.count) \(.write.bytes) \(.discard.count)\""; }
kernels() { echo "$(stat 1) $(($(stat 3) * 512)) $(stat 5) $(($(stat 7) * 512)) $(stat 12)"; }
agree() { [[ $(ours) == "$(kernels)" ]] || fail "ublkctl stats says $(ours), the kernel $(kernels)"; }

agree
load --depth=32 --requests=3000 "$node" >/dev/null
load --write --depth=8 --block=64K --requests=500 "$node" >/dev/null
blkdiscard -o 1M -l 4M "$node" || true
agree
(($(json .total.operations.read.count) >= 3000))
# each of them is in a histogram
[[ $(json '.total.latency.read.count') == $(json .total.operations.read.count) ]]
[[ $(json '[.queues[].operations.write.count] | add') == $(json .total.operations.write.count) ]]
json '.total.latency.read | "p50 \(.p50_ns) p99 \(.p99_ns) p99.9 \(.p999_ns) mean \(.mean_ns)"'
[[ $(json '.total.latency.read | .p50_ns > 0 and .p50_ns <= .p99_ns and .p99_ns <= .p999_ns') == true ]]
[[ $(json .recoveries.count) == 0 ]]

# nobody is asked
kill -STOP "$pid"
timeout 10 ublkctl stats counted | grep -E '^read +[0-9]{4}'
timeout 10 ublkctl stats | grep '^counted'
kill -CONT "$pid"
ublkctl stats counted --watch=0.2 --count=2 --json | jq -e '.[0].total.operations.read.per_second == 0'

# nor is anybody there to ask
before=$(ours)
kill -KILL "$pid"
wait_until 10 is_gone "$pid"
[[ $(ours) == "$before" ]]
dd if="$node" of=/dev/null bs=4096 count=1 skip=7 iflag=direct status=none & # waits
reader=$!
is_quiesced() { [[ $(ublkctl status counted --json | jq -r .state) == quiesced ]]; }
wait_until 20 is_quiesced
[[ $(ours) == "$before" ]]
ublkctl metrics | grep -F 'ublk_device_state{device="counted",ublk_device_state="quiesced"} 1'
start_name counted
wait "$reader"
wait_until 20 is_live "$node"
(($(json .total.operations.read.count) > ${before%% *})) || fail "counters begin anew: $(ours) after $before"
[[ $(json .recoveries.count) == 1 ]]
(($(json .recoveries.last_pause_ns) > 1000000)) || fail "the pause was $(json .recoveries.last_pause_ns) ns"
(($(json .recoveries.max_pause_ns) < 60000000000))

# for monitoring
ublkctl metrics >"$WORK/metrics"
[[ $(tail -n 1 "$WORK/metrics") == '# EOF' ]]
grep -E '^ublk_recoveries_total\{device="counted"\} 1$' "$WORK/metrics"
grep -E '^ublk_device_info\{device="counted",node="/dev/ublkb[0-9]+",backend="file",' "$WORK/metrics"
grep -E '^ublk_request_duration_seconds_bucket\{device="counted",operation="read",le="\+Inf"\} [0-9]{4}' "$WORK/metrics"
expect_status 1 grep -vE '^(# (TYPE|UNIT|HELP) ublk_[a-z_]+ .+|# EOF|ublk_[a-z_]+\{device="[^"]+".*\} [0-9.]+)$' "$WORK/metrics"
stop_name counted
