# guest: mini
# rows-short: 1
# timeout: 90
# A name is served once, whoever is first: a server of its own or the manager. The manager serves the
# rest, and takes what becomes free. There is one manager.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
at_exit remove_definitions
for name in one two; do
	define "$name" memory 1M
	cp "/etc/ublk/$name.conf" "$WORK"
done
serve one
start_manager
manager_is_ready 30
says "one: error: one is already served by process $server" || fail "$(<"$WORK/manager.log")"
says '2 devices: 1 running, 1 failed (one: one is already served by process' || fail "$(<"$WORK/manager.log")"
is_served two
is_live "$dev"

expect_status 75 ublkd serve two 2>"$WORK/second.log"
grep -q "two is already served by process $manager" "$WORK/second.log" || fail "$(<"$WORK/second.log")"
expect_status 75 ublkd manage two 2>"$WORK/second.log"
grep -q "there is a manager already, process $manager" "$WORK/second.log" || fail "$(<"$WORK/second.log")"

stop_server
rm "$WORK/one.pid"
# tried again after a while, or at once by a reload
reload_manager 30 0
is_served one

expect_status 78 ublkd manage 'no name' 2>/dev/null
kill -TERM "$manager"
manager_ends 60 0
nothing_is_left

# by name, whatever the definition says
sed -i /Manager=/d /etc/ublk/one.conf
manager_names=(one)
start_manager
manager_is_ready 30
says 'ready: 1 device: 1 running' || fail "$(<"$WORK/manager.log")"
is_served one
! ublkctl status two || fail "the manager serves more than it was told to"
kill -INT "$manager"
manager_ends 60 0
nothing_is_left
