# guest: mini
# rows-short: 1
# timeout: 120
# timeout-long: 600
# alone: yes
# One reload of the manager removes many devices and adds as many, and touches nothing else. What it
# cannot do it names: a definition with errors leaves its device as it is, a removed device in use is
# served until that ends. What has failed is tried again.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
n=10
((VM_LONG == 0)) || n=100
room_for $((3 * n + 10))
at_exit remove_definitions
define stays memory 1M
define grows memory 1M
define breaks memory 1M
define late file '' "Path=$WORK/late.img"
for ((i = 1; i <= n; i++)); do
	define "old$i" memory 1M
done
start_manager
manager_is_ready 120
says 'late: error: ' || fail "nothing is said of the missing file"

node_of() { jq -er --arg name "$1" '.[] | select(.name == $name) | .node' "$WORK/list"; }
list() { ublkctl list --json >"$WORK/list"; }
list
stays=$(node_of stays)
state_before=$(stat -c '%i %y' /run/ublkd/stays/state)
id_before=$(node_of breaks)
# what is not to change is in use all the time, and what is to go for a while
(
	while [[ ! -e $WORK/enough ]]; do
		head -c 65536 /dev/urandom >"$WORK/want"
		dd if="$WORK/want" of="$stays" bs=64k seek=2 oflag=direct status=none
		dd if="$stays" of="$WORK/got" bs=64k skip=2 count=1 iflag=direct status=none
		cmp "$WORK/want" "$WORK/got"
	done
) &
user=$!
exec 3<"$(node_of old1)"

for ((i = 1; i <= n; i++)); do
	rm "/etc/ublk/old$i.conf"
	define "new$i" memory 2M
done
define grows memory 3M
echo 'Depth=yes' >>/etc/ublk/breaks.conf
truncate -s 1M "$WORK/late.img"
start=$EPOCHREALTIME
reload_manager 300 117 # EUCLEAN
end=$EPOCHREALTIME
[[ $answer == "$n added, 2 changed, $n removed, 1 with errors; "* ]] || fail "$answer"
[[ $answer == *'breaks: /etc/ublk/breaks.conf:'* ]] || fail "$answer"
[[ $answer == *'old1: open in '* ]] || fail "$answer"
list
for ((i = 1; i <= n; i++)); do
	[[ $(<"/sys/block/$(basename "$(node_of "new$i")")/size") == 4096 ]] || fail "new$i"
	((i == 1)) || ! node_of "old$i" || fail "old$i is still there"
done
[[ $(node_of breaks) == "$id_before" ]]
is_live "$id_before"
is_live "$(node_of late)"
[[ $(node_of stays) == "$stays" && $(stat -c '%i %y' /run/ublkd/stays/state) == "$state_before" ]]
grows=$(<"/sys/block/$(basename "$(node_of grows)")/size")
[[ $grows == 6144 || $answer == *'grows: '*Size=* ]] || fail "grows has $grows sectors: $answer"

# let go of, it goes by itself; nothing is left to do but to say what is wrong
is_live "$(node_of old1)"
exec 3<&-
wait_until 60 eval '! ublkctl status old1'
reload_manager 60 117
[[ $answer == *'0 removed, 1 with errors; breaks: '* ]] || fail "$answer"
define breaks memory 1M
reload_manager 60 0

# held, and wanted again
exec 3<"$(node_of new1)"
held=$(node_of new1)
rm /etc/ublk/new1.conf
reload_manager 60 0
[[ $answer == *'1 removed, 0 with errors'*'new1: open in '* ]] || fail "$answer"
define new1 memory 2M
reload_manager 60 0
exec 3<&-
list
[[ $(node_of new1) == "$held" ]]
is_live "$held"

touch "$WORK/enough"
wait "$user" || fail "the device that stays had an error"
kill -TERM "$manager"
manager_ends 120 0
nothing_is_left
awk -v a="$start" -v b="$end" -v n="$n" 'BEGIN { printf "figure: %d devices added and removed by a reload in %.1f s\n", n, b - a }'
