# guest: mini
# rows-short: 1
# timeout: 120
# Each way to fail at start: one line on stderr, or one for each error of a definition, the exit status of ublkd(8),
# no device, nothing in /run/ublkd, no image that was made for it.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
mkdir -p /etc/ublk /etc/modprobe.d
at_exit rm -rf /etc/ublk/x.conf

# fails STATUS LINE COMMAND...: LINE as a whole, with any number for NUMBER
fails() {
	local want=$1 line=$2 got=0
	shift 2
	"$@" >out 2>err || got=$?
	grep -v 'x: info: ' err | sed -E 's/process [0-9]+/process NUMBER/; s/has [0-9]+K left/has NUMBER left/' >line
	((got == want)) || fail "status $got instead of $want: $*: $(<err)"
	[[ ! -s out ]] || fail "on stdout: $(<out)"
	diff - line <<<"$line" || fail "not the message of: $*"
	[[ -n ${others-} ]] || nothing_is_left
}
serve_x() { fails "$1" "x: error: $2" "${@:3}" "$(command -v ublkd)" serve x; }

# define SIZE=... PATH KEY=...: a file
define() {
	printf '%s\n' '[Device]' ${1:+"$1"} '[Backend]' Type=file "Path=$2" "${@:3}" >/etc/ublk/x.conf
}
memory() { printf '[Device]\nSize=1M\n[Backend]\nType=memory\n' >/etc/ublk/x.conf; }

# ---- the driver
no_driver="there is no /dev/ublk-control: run 'modprobe ublk_drv', or boot a kernel that has this module"
memory
rmmod ublk_drv 2>/dev/null || true
echo 'install ublk_drv /bin/false' >/etc/modprobe.d/no-ublk.conf
at_exit rm -f /etc/modprobe.d/no-ublk.conf
serve_x 69 "$no_driver"
rm /etc/modprobe.d/no-ublk.conf
serve_x 69 "$no_driver" env PATH=/nonexistent
[[ ! -e /dev/ublk-control ]]
modprobe ublk_drv

# ---- permission
user=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)
no_admin=(setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin)
serve_x 77 'cannot open /dev/ublk-control: Permission denied; run as root' "${user[@]}"
chmod 666 /dev/ublk-control
at_exit chmod 600 /dev/ublk-control
serve_x 77 'cannot lock /run/ublkd/x: Permission denied' "${user[@]}"
chmod 600 /dev/ublk-control
define Size=1M "$WORK/new.img" Create=sparse
serve_x 77 'cannot add a ublk device: needs CAP_SYS_ADMIN in the initial user namespace, run as root outside containers' \
	"${no_admin[@]}"
[[ ! -e new.img ]] || fail "an image was made for a device that is not there"

# ---- io_uring
no_uring='io_uring cannot be used here: see sysctl kernel.io_uring_disabled, and seccomp filters'
at_exit sysctl -q kernel.io_uring_disabled=0
sysctl -q kernel.io_uring_disabled=2
serve_x 69 "$no_uring"
sysctl -q kernel.io_uring_disabled=1
serve_x 69 "$no_uring" "${no_admin[@]}"
sysctl -q kernel.io_uring_disabled=0

# ---- the number of devices: on these kernels it is for unprivileged ones only (Debian's 6.12 too, where mainline's
# counts all), so here it is no failure
limit=/sys/module/ublk_drv/parameters/ublks_max
at_exit eval "echo $(<$limit) >$limit"
echo 1 >$limit
for name in one two; do
	printf '[Device]\nSize=1M\n[Backend]\nType=null\n' >"$name.conf"
	serve "$name"
	is_live "$dev"
done
for name in one two; do
	server=$(<"$name.pid")
	stop_server
done
nothing_is_left

# ---- what is behind the device
missing='does not exist: set Create=sparse or Create=prealloc to make it'
define Size=1M "$WORK/none" Create=no
serve_x 78 "$WORK/none $missing"
define Size=1M "$WORK/none"
serve_x 78 "$WORK/none $missing"
truncate -s 2M image
define Size=1M "$WORK/image"
serve_x 78 "$WORK/image has 2M, more than Size=1M: nothing is ever cut off, set Size=2M to serve all of it"
define Size=4M "$WORK/image"
serve_x 78 "$WORK/image has 2M, less than Size=4M: set Create=sparse or Create=prealloc to let it grow"
[[ $(stat -c %s image) == $((2 << 20)) ]]
mkfifo fifo
for path in "$WORK" "$WORK/fifo" /dev/null; do
	define '' "$path"
	serve_x 78 "$path is neither a regular file nor a block device"
done
truncate -s 1000 odd
define '' "$WORK/odd"
serve_x 78 "the size of $WORK/odd, 1000, is no multiple of the logical block of 512 bytes: change either"
truncate -s 0 empty
define '' "$WORK/empty"
serve_x 78 "$WORK/empty is empty: set Size=, and Create=sparse or Create=prealloc"
ln -s nowhere dangling
define Size=1M "$WORK/dangling" Create=sparse
serve_x 78 "cannot create $WORK/dangling: it is a symbolic link that leads nowhere, or was made by somebody else just now"
define Size=1M "$WORK/nowhere/x" Create=sparse
serve_x 78 "cannot create $WORK/nowhere/x: No such file or directory"

modprobe loop
truncate -s 1M sectors
loop=$(losetup -b 4096 -f --show sectors)
at_exit losetup -d "$loop"
define LogicalBlockSize=512 "$loop" DirectIO=yes
serve_x 78 "LogicalBlockSize=512 is below the 4096 bytes that direct I/O to $loop needs: set LogicalBlockSize=4096 or DirectIO=no"

mkfs.ext4 -q -N 64 "$SCRATCH0" 32M
mkdir fs
mount "$SCRATCH0" fs
at_exit umount fs
define '' "$SCRATCH0"
serve_x 75 "$SCRATCH0 is in use by the mount on $WORK/fs: it can have one writer or many readers, release it there first"
define Size=1G "$WORK/fs/pre" Create=prealloc
serve_x 78 "no space to allocate 1G for $WORK/fs/pre: its file system has NUMBER left; make room or set Create=sparse"
[[ ! -e fs/pre ]]

# ---- somebody else has it
printf '[Device]\n[Backend]\nType=file\nPath=%s\n' "$WORK/image" >holder.conf
serve holder
others=yes
ln image hard
ln -s image soft
for path in image hard soft; do
	define '' "$WORK/$path"
	serve_x 75 "$WORK/$path is in use by process NUMBER (ublkd): it can have one writer or many readers, release it there first"
done
fails 75 "holder: error: holder is already served by process NUMBER" ublkd serve holder
grep -qw "process $server" err
is_live "$dev"
[[ $(ls /run/ublkd) == $'holder\nudev' ]]
stop_server
unset others
nothing_is_left

# ---- definitions
cat >/etc/ublk/x.conf <<-E
	[Device]
	Sise=1M
	LogicalBlockSize=1000
	[Backend]
	Type=null
	[Queues]
	Depth=0
E
fails 78 "x: error: /etc/ublk/x.conf:2: [Device] Sise=: unknown key, did you mean Size=?
x: error: /etc/ublk/x.conf:3: [Device] LogicalBlockSize=: 1000 is not a power of two
x: error: /etc/ublk/x.conf:7: [Queues] Depth=: 0 is below 1
x: error: /etc/ublk/x.conf: [Device] Size=: is required with Type=null" ublkd serve x
fails 78 'none: error: there is no definition of none: make /etc/ublk/none.conf, see ublk.conf(5)' ublkd serve none
fails 78 'error: /none.conf: cannot be read: No such file or directory' ublkd serve --config /none.conf
ln -sf /dev/null /etc/ublk/x.conf
serve_x 78 'the definition of x is masked: an empty file or a link to /dev/null stands for it'
rm /etc/ublk/x.conf
memory
echo oops >/etc/ublkd.conf
at_exit rm -f /etc/ublkd.conf
fails 78 'error: /etc/ublkd.conf:1: not a line "Key=Value": "oops"' ublkd serve x
rm /etc/ublkd.conf

# ---- names and usage
for name in Bad ../x -x .x x/y "$(printf 'a%.0s' {1..64})"; do
	fails 78 "error: '$name' is not a name for a device: a to z, 0 to 9, and '_', '.', '-' but not first, at most 63 \
characters" ublkd serve -- "$name"
done
for arguments in '' bogus serve 'serve x y' 'serve --config' 'serve --bogus x' 'serve -c x.conf x'; do
	# shellcheck disable=SC2086
	expect_status 64 ublkd $arguments 2>err
	grep -q '^Usage: ublkd serve NAME$' err
	nothing_is_left
done
fails 64 'error: --log-level=loud: error, warning, notice, info or debug' ublkd serve --log-level=loud x

# ---- the place for its state
define Size=1M "$WORK/new.img" Create=sparse
mount -o remount,ro /run
at_exit mount -o remount,rw /run
serve_x 1 'cannot lock /run/ublkd/x: Read-only file system'
mount -o remount,rw /run
[[ ! -e new.img ]]
mkdir -p /run/ublkd
# room for the directory and the lock, but not for the state
mount -t tmpfs -o nr_inodes=3 tmpfs /run/ublkd
at_exit umount -q /run/ublkd
serve_x 1 'cannot write the state of x below /run/ublkd: No space left on device'
umount /run/ublkd
[[ ! -e new.img ]] || fail "an image was made for a device that is not there"
