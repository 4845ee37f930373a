# guest: mini
# rows-short: 2
# timeout: 180
# timeout-long: 1800
# alone: yes
# The manager ends for a successor (SIGUSR2), or is killed, under load on all of its devices: the next
# process takes over what can be taken over, and users see a pause, never an error. What cannot is
# stopped when nobody uses it. A device whose definition has gone meanwhile is served until it is free,
# and one whose definition has errors goes on with its old one.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
require_feature USER_RECOVERY
n=5 rounds=4
((VM_LONG == 0)) || n=20 rounds=20
room_for $((n + 10))
at_exit remove_definitions
for ((i = 1; i <= n + 2; i++)); do
	define "r$i" file 4M "Path=$WORK/r$i.img" Create=sparse
done
define memory memory 1M
start_manager
manager_is_ready 120
node_of() { ublkctl status "$1" --json | jq -er .node; }
loads=()
for ((i = 1; i <= n; i++)); do
	nodes[i]=$(node_of "r$i")
	torture --seconds=1000000 --workers=1 --depth=4 --max=16K "${nodes[i]}" >"$WORK/load$i" 2>&1 &
	loads+=($!)
	at_exit kill "$!"
done
bytes() { count "r$1" write.bytes; }
has_written() { (($(bytes "$1") > $2)); }

for ((round = 1; round <= rounds; round++)); do
	if ((round % 2)); then
		kill -USR2 "$manager"
		manager_ends 120 0
	else
		kill -KILL "$manager"
		manager_ends 120 137
	fi
	start_manager
	manager_is_ready 300
	says "ready: $((n + 3)) devices: $((n + 3)) running" || fail "$(<"$WORK/manager.log")"
	for ((i = 1; i <= n; i++)); do
		[[ $(node_of "r$i") == "${nodes[i]}" ]] || fail "r$i is another device"
		before=$(bytes "$i")
		wait_until 60 has_written "$i" "$before"
	done
	(($(grep -c 'took over' "$WORK/manager.log") == n + 2)) || fail "$(<"$WORK/manager.log")"
done

# one is not wanted any more, one cannot be read
exec 3<"$(node_of "r$((n + 1))")"
held=$(node_of "r$((n + 1))")
rm "/etc/ublk/r$((n + 1)).conf"
echo 'Nonsense=1' >>"/etc/ublk/r$((n + 2)).conf"
kill -USR2 "$manager"
manager_ends 120 0
start_manager
manager_is_ready 300
says "r$((n + 1)) has no definition any more" || fail "$(<"$WORK/manager.log")"
says "Nonsense=" || fail "$(<"$WORK/manager.log")"
is_live "$held"
is_live "$(node_of "r$((n + 2))")"
exec 3<&-
wait_until 60 test ! -e "$held"

kill "${loads[@]}"
for ((i = 1; i <= n; i++)); do
	wait "${loads[i - 1]}" || fail "load on r$i: $(<"$WORK/load$i")"
done
kill -TERM "$manager"
manager_ends 120 0
nothing_is_left
