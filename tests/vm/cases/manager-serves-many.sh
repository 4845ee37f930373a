# guest: mini
# rows-short: 2
# timeout: 180
# timeout-long: 900
# alone: yes
# Many devices in one process: they start together on a few threads, a bad definition and a device that
# cannot start fail alone and say why, each device has its own data, and all stop together: those in
# use when their writers have ended, whose data are there.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
n=24 writes=8
# that many processes take their time
((VM_LONG == 0)) || n=500 writes=2
room_for $((n + 10))
at_exit remove_definitions
mkfs.ext4 -q "$SCRATCH0"
mkdir -p "$WORK/images"
mount "$SCRATCH0" "$WORK/images"
at_exit umount -l "$WORK/images"

# figures of one device and of fifty, by which those of all are measured
for few in 1 50; do
	((few <= n)) || break
	for ((i = 1; i <= few; i++)); do
		define "$(printf 'm%03d' "$i")" memory 1M
	done
	start_manager
	manager_is_ready 120
	echo "figure: manager with $few: $(figures_of_process "$manager")"
	kill -TERM "$manager"
	manager_ends 120 0
	nothing_is_left
done

for ((i = 1; i <= n; i++)); do
	name=$(printf 'm%03d' "$i")
	if ((i % 5)); then
		define "$name" memory 1M
	else
		define "$name" file 1M "Path=$WORK/images/$name.img" Create=sparse
	fi
done
define bad memory 1M 'Colour=green'
define nofile file '' "Path=/nowhere/at/all.img"
start=$EPOCHREALTIME
start_manager
manager_is_ready 600
ready=$EPOCHREALTIME
says "ready: $((n + 2)) devices: $n running, 2 failed (bad: /etc/ublk/bad.conf:" || fail "$(<"$WORK/manager.log")"
says 'Colour=' || fail "nothing is said of the bad key"
says 'nofile: error: ' || fail "nothing is said of the missing file"
ublkctl list --json >"$WORK/list"
[[ $(jq "[.[] | select(.state == \"live\" and .server_pid == $manager)] | length" "$WORK/list") == "$n" ]]
# threads by the machine, not by the devices: main, log, two for two CPUs, and jobs that go with time
few_threads() { (($(cat "/proc/$manager/task/"*/comm | grep -c ublkd) <= 2 + 2 + 1)); }
wait_until 60 few_threads || fail "$(sort "/proc/$manager/task/"*/comm | uniq -c)"
echo "figure: manager with $n: $(figures_of_process "$manager")"

declare -A node
while read -r name path; do
	node[$name]=$path
done < <(jq -r '.[] | select(.node) | "\(.name) \(.node)"' "$WORK/list")
names=("${!node[@]}")
((${#names[@]} == n))
writers=()
for name in "${names[@]}"; do
	printf '%-65536s' "$name" | dd of="${node[$name]}" bs=64k seek=3 oflag=direct iflag=fullblock status=none &
	writers+=($!)
done
wait "${writers[@]}"
for name in "${names[@]}"; do
	got=$(dd if="${node[$name]}" bs=64k skip=3 count=1 iflag=direct status=none | tr -d ' ')
	[[ $got == "$name" ]] || fail "$name says $got"
done

# writers hold every device while the manager is told to stop
writers=()
mkfifo "$WORK/go"
exec 4<>"$WORK/go"
for name in "${names[@]}"; do
	(
		exec 3<>"${node[$name]}"
		read -r _ <&4
		for ((j = 0; j < writes; j++)); do
			printf '%-4096s' "$name-$j" | dd of=/dev/fd/3 bs=4096 seek=$j conv=notrunc,fdatasync status=none
		done
	) &
	writers+=($!)
done
stop=$EPOCHREALTIME
kill -TERM "$manager"
wait_until 120 says 'serving it until that ends'
held=$EPOCHREALTIME
printf '%0.s\n' "${names[@]}" >&4
for pid in "${writers[@]}"; do
	wait "$pid" || fail "a writer got an error"
done
written=$EPOCHREALTIME
manager_ends 300 0
stopped=$EPOCHREALTIME
nothing_is_left
for name in "${names[@]}"; do
	[[ -e $WORK/images/$name.img ]] || continue
	[[ $(dd if="$WORK/images/$name.img" bs=4096 skip=$((writes - 1)) count=1 status=none | tr -d ' \0') == "$name-$((writes - 1))" ]] ||
		fail "the image of $name lacks its last block"
done
awk -v a="$start" -v b="$ready" -v c="$stop" -v d="$stopped" -v e="$held" -v f="$written" -v n="$n" 'BEGIN {
	printf "figure: %d devices ready in %.1f s; a stop found them in use in %.1f s; %.1f s of writing; ended %.1f s later\n",
		n, b - a, e - c, f - e, d - f }'
