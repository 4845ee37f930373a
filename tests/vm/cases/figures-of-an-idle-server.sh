# guest: full
# rows: 2 3
# timeout: 120
# What an idle server takes. The goal: under 6 MiB for itself with 2 queues of 128, and no time.
. "$VM_LIB/common.sh"
cat >"$WORK/idle.conf" <<-E
	[Device]
	Size=1G
	[Backend]
	Type=file
	Path=$WORK/idle.img
	Create=sparse
	[Queues]
	Count=2
	Depth=128
E
install_definition "$WORK/idle.conf"
at_exit systemctl stop ublk@idle.service
show() { systemctl show -P "$1" ublk@idle.service; }
systemctl start ublk@idle.service
pid=$(show MainPID)
[[ $(ublkctl status idle --json | jq -r '"\(.queues)x\(.depth)"') == 2x128 ]]
rollup() { awk -v f="$1" '$1 ~ f { n += $2 } END { print n + 0 }' "/proc/$pid/smaps_rollup"; }
private=$(rollup '^Private_')
echo "figure: idle server with 2 queues of 128: $private kB private, $(rollup '^Pss:') kB proportional," \
	"$(($(show MemoryCurrent) >> 10)) kB for its cgroup"
((private > 200)) || fail "$private kB cannot be all"
((private < 6144))

# idle means that nothing wakes it up but the watchdog's beat, every ten seconds, with some switches in each thread
n_switches() { awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }' /proc/"$pid"/task/*/status; }
udevadm settle
before=$(n_switches)
then=$SECONDS
a_while() { ((SECONDS >= then + 5)); }
wait_until 10 a_while
n=$(($(n_switches) - before))
echo "figure: $n context switches of an idle server in 5 s"
((n < 40))
