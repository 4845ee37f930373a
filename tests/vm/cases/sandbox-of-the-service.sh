# guest: full
# rows: 2 3
# rows-short: 3
# timeout: 180
# The service works from its sandbox with images wherever people have them and with a block device;
# and the sandbox is in force, for every thread: it is open for what the definition names only.
. "$VM_LIB/common.sh"
define() {
	cat >"$WORK/$1.conf"
	install_definition "$WORK/$1.conf"
	at_exit systemctl stop "ublk@$1.service"
}
head -c 1M /dev/urandom >"$WORK/want"

# expect_works NAME BACKING: what is written through the device is in the backing file; stops it
expect_works() {
	dd if="$WORK/want" of="/dev/ublk/$1" bs=1M oflag=direct status=none
	systemctl stop "ublk@$1.service"
	cmp -n 1048576 "$WORK/want" "$2"
}

for dir in srv var/lib home/somebody root; do
	mkdir -p "/$dir"
	at_exit rm -f "/$dir/vm-case.img"
	name=in-${dir//\//-}
	define "$name" <<-E
		[Device]
		Size=8M
		[Backend]
		Type=file
		Path=/$dir/vm-case.img
		Create=prealloc
	E
	systemctl start "ublk@$name.service"
	[[ $(stat -c %a:%U:%G:%s "/$dir/vm-case.img") == 600:root:root:8388608 ]]
	expect_works "$name" "/$dir/vm-case.img"
done
# as those of virtual machines do, this one belongs to somebody else
chown nobody: /srv/vm-case.img
truncate -s 0 /srv/vm-case.img
truncate -s 8M /srv/vm-case.img
systemctl start ublk@in-srv.service
expect_works in-srv /srv/vm-case.img
[[ $(stat -c %U:%a /srv/vm-case.img) == nobody:600 ]]

define disk <<-E
	[Backend]
	Type=file
	Path=$SCRATCH1
E
systemctl start ublk@disk.service
[[ $(blockdev --getsize64 /dev/ublk/disk) == $(blockdev --getsize64 "$SCRATCH1") ]]
pid=$(systemctl show -P MainPID ublk@disk.service)

# SYS_ADMIN 21, SYS_PTRACE 19, DAC_OVERRIDE 1; SYS_RESOURCE 24 was for the flag PF_MEMALLOC_NOIO, which is there
# before there were threads. The one that writes the log has none, those of queues
# have all: the kernel does not look for partitions of a device that is fetched from without SYS_ADMIN.
of_main=$(printf '%016x' $((1 << 21 | 1 << 19 | 1 << 1)))
field() { awk -v f="$1:" '$1 == f { print $2 }' "$2/status"; }
n=0
for task in /proc/"$pid"/task/*; do
	# the kernel's own workers come and go
	comm=$(cat "$task/comm" 2>/dev/null) || continue
	case $comm in
	ublkd-log) want=0000000000000000 ;;
	ublkd*) want=$of_main ;;
	*) continue ;;
	esac
	for set in CapEff CapPrm; do
		[[ $(field "$set" "$task") == "$want" ]] ||
			fail "$set of $comm is $(field "$set" "$task") instead of $want"
	done
	[[ $(field NoNewPrivs "$task") == 1 && $(field Seccomp "$task") == 2 ]] ||
		fail "$comm has no filter for system calls"
	flags=$(sed 's/.*) //' "$task/stat" | cut -d ' ' -f 7)
	((flags & 0x80000)) || fail "$comm may wait for its own device, its flags are $flags"
	n=$((n + 1))
done
((n >= 3)) || fail "only $n threads"
[[ $(<"/proc/$pid/oom_score_adj") == -1000 ]]
(($(field VmLck "/proc/$pid") > 0)) || fail "memory is not locked"

inside() { nsenter --target "$pid" --mount "$@"; }
for dir in /usr /etc /boot /proc/sys /sys/fs/cgroup /srv /var /tmp /; do
	inside findmnt -no OPTIONS --target "$dir" | grep -E '(^|,)ro(,|$)' || fail "$dir can be written"
done
inside touch /srv/vm-case 2>"$WORK/error" && fail "/srv can be written"
grep 'Read-only file system' "$WORK/error"
[[ -z $(inside find /home /root -mindepth 1) ]] || fail "/home can be seen"
for ns in net ipc; do
	[[ $(readlink "/proc/$pid/ns/$ns") != "$(readlink "/proc/1/ns/$ns")" ]] || fail "the $ns namespace is that of all"
done
[[ $(awk 'NR > 2 { print $1 }' "/proc/$pid/net/dev") == lo: ]]
# the driver wants capabilities in the first user namespace
[[ $(readlink "/proc/$pid/ns/user") == "$(readlink /proc/1/ns/user)" ]]

expect_works disk "$SCRATCH1"

# Of an image, the server can write to that and to nothing beside it; below /home it can read.
for path in /srv/vm-case.img /home/somebody/vm-case.img; do
	truncate -s 8M "$path"
	define one <<-E
		[Backend]
		Type=file
		Path=$path
	E
	systemctl start ublk@one.service
	pid=$(systemctl show -P MainPID ublk@one.service)
	inside touch "$path"
	! inside touch "$path.other" 2>"$WORK/error" || fail "the directory of $path can be written"
	grep 'Read-only file system' "$WORK/error"
	expect_works one "$path"
done
systemctl start ublk@disk.service
score=$(systemd-analyze security --no-pager --threshold=20 ublk@disk.service | tail -n 1)
echo "figure: $score"
