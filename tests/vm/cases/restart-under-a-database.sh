# guest: full
# rows: 2
# timeout: 400
# timeout-long: 2400
# extra: postgres
# `systemctl restart` and replaced binaries under a database: PostgreSQL runs pgbench on ext4 on the device. No
# transaction fails, the mount stays, and afterwards the balances agree with the history of all that was answered, also
# when the database has to go back to its log, each index fits its table, and each page its checksum.
. "$VM_LIB/common.sh"
. "$VM_LIB/load.sh"
. "$VM_LIB/service.sh"
restarts=$((VM_LONG ? 50 : 5))
unit=ublk@data.service
mkfs.ext4 -q -N 64 "$SCRATCH0"
mkdir fs mnt
mount "$SCRATCH0" fs
at_exit umount fs
cat >data.conf <<-X
	[Device]
	Size=512M
	[Queues]
	Count=2
	Depth=32
	[Backend]
	Type=file
	Path=$WORK/fs/data.img
	Create=sparse
X
without_start_limit $unit
node=$(start_device data.conf)
mkfs.ext4 -q "$node"
mount "$node" mnt
at_exit umount -q -l "$WORK/mnt"
id=$(mount_id "$WORK/mnt")
[[ -n $id ]]

# the server refuses to run as root
bin=$(echo "$VM_EXTRA"/lib/postgresql/*/bin)
pg() {
	setpriv --reuid=65534 --regid=65534 --clear-groups env LC_ALL=C HOME=/ PGHOST="$WORK/socket" PGUSER=postgres \
		PGDATABASE=postgres PGDATA="$WORK/mnt/pg" LD_LIBRARY_PATH="$VM_EXTRA/lib/x86_64-linux-gnu" "$bin/$1" "${@:2}"
}
mkdir -m 700 mnt/pg socket
: >pg.log
chown 65534:65534 mnt/pg socket pg.log
pg initdb -U postgres -A trust -E UTF8 --no-locale --data-checksums --no-sync >initdb.log 2>&1 || fail "$(<initdb.log)"
# small, so that much goes to the device: checkpoints all the time, and little kept
cat >>mnt/pg/postgresql.conf <<-X
	listen_addresses = ''
	unix_socket_directories = '$WORK/socket'
	shared_buffers = 4MB
	max_connections = 20
	checkpoint_timeout = 30s
	max_wal_size = 32MB
	min_wal_size = 32MB
	jit = off
	autovacuum_naptime = 5s
X
pg_up() { pg pg_ctl start -w -t 120 -l "$WORK/pg.log" >ctl.log 2>&1 || fail "$(cat ctl.log pg.log)"; }
pg_down() { pg pg_ctl stop -w -t 120 -m "$1" >ctl.log 2>&1 || fail "$(cat ctl.log pg.log)"; }
pg_quietly_down() { [[ ! -e mnt/pg/postmaster.pid ]] || pg pg_ctl stop -W -m immediate; }
pg_up
at_exit pg_quietly_down
pg pgbench -i -q -s 1 >init.log 2>&1 || fail "$(<init.log)"

rounds() {
	: >answered
	until [[ -e enough ]]; do
		pg pgbench -n -c 4 -j 2 -t 25 --random-seed=$RANDOM >bench.log 2>&1 </dev/null || return
		sed -n 's|^number of transactions actually processed: \([0-9]*\)/.*|\1|p' bench.log >>answered
		grep -q '^number of failed transactions: 0 ' bench.log || return
	done
}
rounds &
bench=$!
at_exit end_quietly $bench
truncate -s 1M mnt/pauses
pauses_begin "$WORK/mnt/pauses"
wait_until 60 test -s answered || fail "$(cat bench.log pg.log)"
for ((i = 0; i < restarts; i++)); do
	pass_time $((RANDOM % 500))
	restart_unit $unit
	pass_time $((RANDOM % 500))
	replace_binary $unit
	[[ $(mount_id "$WORK/mnt") == "$id" && $(ls /sys/class/ublk-char) == "ublkc${node#/dev/ublkb}" ]]
	! is_gone $bench || fail "pgbench: $(cat bench.log pg.log)"
done
pass_time 500
touch enough
wait_until 180 is_gone $bench || fail "pgbench hangs: $(cat bench.log pg.log)"
wait $bench || fail "pgbench: $(cat bench.log pg.log)"
pauses_end 'a restart under a database' $((2 * restarts))
! grep -E 'ERROR|FATAL|PANIC|WARNING' pg.log || fail "$(<pg.log)"
n=$(awk '{ n += $1 } END { print n + 0 }' answered)
echo "figure: pgbench has had $n transactions answered"
((n >= 20 * restarts))

# agree: all that was answered is there, and nothing else
agree() {
	pg psql -qAt -F ' ' -c 'SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM
		pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history),
		(SELECT count(*) FROM pgbench_history), (SELECT count(*) FROM pgbench_accounts)' >balances 2>psql.log ||
		fail "$(cat psql.log pg.log)"
	read -r accounts branches tellers history count n_accounts <balances
	[[ $accounts == "$branches" && $accounts == "$tellers" && $accounts == "$history" && $count == "$n" &&
		$n_accounts == 100000 ]] || fail "after $n transactions: $(<balances)"
}
agree
# What it had in memory is lost; what the device has is enough.
pg_down immediate
echo 3 >/proc/sys/vm/drop_caches
pg_up
agree
pg pg_amcheck --install-missing --heapallindexed postgres >amcheck.log 2>&1 || fail "$(<amcheck.log)"
pg_down fast
umount mnt
mount "$node" mnt
pg pg_checksums --check >checksums.log 2>&1 || fail "$(<checksums.log)"
grep -x 'Bad checksums: *0' checksums.log
umount mnt
fsck.ext4 -fn "$node"
! kernel_log | grep -E "(I/O error|Buffer I/O).*${node#/dev/}|EXT4-fs (error|warning)" || fail "the kernel has seen errors"
journalctl --sync
(($(journalctl -q -b -o cat _SYSTEMD_UNIT=ublk@data.service | grep -c 'took over ublk device') == n_restarts))
stop_name data
[[ ! -e /run/ublkd/data && -z $(ls /run/ublkd/udev) && -z $(ls /sys/class/ublk-char) ]]
