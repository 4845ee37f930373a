# guest: full
# rows: 1 2
# rows-short: 1
# timeout: 240
# extra: prometheus
# ublk-metrics.timer writes what the node exporter reads and Prometheus asks for: after a load, Prometheus has what the
# kernel has counted in /sys/block, to the last request. Its own tool has nothing to say against the text and the alert
# rules, and each alert fires on series that are made up for it.
. "$VM_LIB/common.sh"
PATH=$PATH:$VM_EXTRA/bin
examples=/usr/share/doc/ublkd/examples
prom=/var/lib/prometheus/node-exporter/ublk.prom
promtool test rules /vm/files/ublk.rules.test.yml

cat >seen.conf <<-X
	[Device]
	Size=64M
	[Queues]
	Count=2
	[Backend]
	Type=file
	Path=$WORK/seen.img
	Create=sparse
X
printf '[Device]\nSize=1M\n[Backend]\nType=null\n[Boot]\nAutostart=no\n' >idle.conf
install_definition idle.conf
node=$(start_device seen.conf)
disk=${node#/dev/}

# without the directory it fails, and says so
expect_status 1 systemctl start ublk-metrics.service
journalctl -q -b -u ublk-metrics.service | grep "cannot write $prom: No such file or directory"
systemctl reset-failed ublk-metrics.service
# as Debian's package makes it
mkdir -p "${prom%/*}"
chown 65534:65534 /var/lib/prometheus
at_exit rm -rf /var/lib/prometheus
at_exit systemctl stop ublk-metrics.timer ublk-metrics.service
systemctl start ublk-metrics.timer
wait_until 30 test -s "$prom"
[[ $(stat -c '%U %a' "$prom") == 'root 644' ]]
first=$(stat -c %.Y "$prom")
promtool check metrics <"$prom" >check.log 2>&1 || fail "$(<check.log)"
[[ ! -s check.log ]] || fail "$(<check.log)"
grep -Fx 'ublk_device_state{device="seen",ublk_device_state="live"} 1' "$prom"
grep -Fx 'ublk_device_state{device="idle",ublk_device_state="stopped"} 1' "$prom"

at_exit systemctl stop exporter.service
systemd-run -q --unit=exporter --uid=65534 -p SyslogLevel=notice "$VM_EXTRA/bin/prometheus-node-exporter" \
	--collector.disable-defaults --collector.textfile --collector.textfile.directory="${prom%/*}" \
	--web.listen-address=127.0.0.1:9100
cat >prometheus.yml <<-X
	global:
	  scrape_interval: 1s
	  evaluation_interval: 1s
	rule_files: [$examples/ublk.rules.yml]
	scrape_configs:
	  - job_name: node
	    static_configs:
	      - targets: ["127.0.0.1:9100"]
X
at_exit systemctl stop prometheus.service
systemd-run -q --unit=prometheus -p WorkingDirectory="$WORK" "$VM_EXTRA/bin/prometheus" --config.file=prometheus.yml \
	--storage.tsdb.path="$WORK/tsdb" --web.listen-address=127.0.0.1:9090

# ask EXPRESSION: what Prometheus answers, as JSON; its own tool takes seconds to start in an emulated machine
ask() {
	local server
	exec {server}<>/dev/tcp/127.0.0.1/9090
	printf 'GET /api/v1/query?query=%s HTTP/1.0\r\n\r\n' "$(jq -rn --arg q "$1" '$q | @uri')" >&"$server"
	sed '1,/^\r$/d' <&"$server"
	exec {server}<&-
}
# prometheus: all that is compared, in one line
prometheus() {
	ask '{device="seen"}' >told
	jq -r 'def value($name; $labels): [.data.result[] | select(.metric.__name__ == $name and .metric + $labels == .metric)
			| .value[1]] | join(",");
		def operation($name): [value($name; {operation: ("read", "write", "flush", "discard")})] | join(" ");
		"requests \(operation("ublk_requests_total")), bytes \(operation("ublk_request_bytes_total"))"
		+ ", timed \(operation("ublk_request_duration_seconds_count"))"
		+ ", live \(value("ublk_device_state"; {ublk_device_state: "live"}))"' told
}
is() { [[ $(prometheus) == "$1" ]]; }
begun() { [[ $(prometheus) == *', live 1' ]]; }
wait_until 60 begun || fail "$(journalctl -q -b -o cat -u exporter -u prometheus)"

fio --name=load --filename="$node" --rw=randrw --direct=1 --ioengine=io_uring --iodepth=16 --bsrange=4k-64k \
	--size=48M --fsync=32 --io_size=32M --output=fio.log || fail "$(<fio.log)"
settled() { [[ $(awk '{ print $9 }' "/sys/block/$disk/stat") == 0 ]]; }
wait_until 10 settled
renewed() { [[ $(stat -c %.Y "$prom") != "$first" ]]; }
wait_until 60 renewed
journalctl -q -b -o cat -u ublk-metrics.service >journal
[[ $(grep -c 'cannot write' journal) == 1 ]]
expect_status 1 grep -E '^(Start|Finish)' journal
# what it would have a quarter of a minute later
systemctl start ublk-metrics.service
read -r reads _ read_sectors _ writes _ write_sectors _ _ _ _ discards _ _ _ flushes _ <"/sys/block/$disk/stat"
# the kernel counts a flush, which is a write of nothing, among these as well
((writes -= flushes))
((reads > 200 && writes > 200 && flushes > 5))
# discards and what else there is are timed together
want="requests $reads $writes $flushes $discards, bytes $((read_sectors * 512)) $((write_sectors * 512)) 0 0"
want+=", timed $reads $writes $flushes , live 1"
wait_until 30 is "$want" || fail "Prometheus has $(prometheus), the kernel $want"
echo "figure: $want"
# each line became a series
[[ $(jq '.data.result | length' told) == $(grep -c '{device="seen"' "$prom") ]]
ask 'histogram_quantile(0.5, ublk_request_duration_seconds_bucket{device="seen",operation="read"})' >told
jq -e '.data.result[0].value[1] | tonumber | . > 0 and . < 8' told
ask 'sum(node_textfile_scrape_error) + (count(ALERTS) or vector(0))' >told
jq -e '.data.result[0].value[1] == "0"' told || fail "$(<told)"
