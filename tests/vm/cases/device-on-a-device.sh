# guest: mini
# rows-short: 1
# timeout: 90
# One device is the backing of another: each byte arrives at the bottom. The lower one cannot be stopped while the
# upper one serves it: it waits, works on, says who has it, and ends when the upper one has.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs
cat >lower.conf <<-X
	[Device]
	Size=32M
	LogicalBlockSize=4096
	[Backend]
	Type=file
	Path=$WORK/fs/lower.img
	Create=sparse
X
serve lower
lower=$server lower_dev=$dev
cat >upper.conf <<-X
	[Backend]
	Type=file
	Path=$lower_dev
X
serve upper
upper=$server
[[ $dev != "$lower_dev" ]]
[[ $(blockdev --getsize64 "$dev") == $((32 << 20)) ]]
# what the lower one cannot do the upper one does not promise
[[ $(blockdev --getss "$dev") == 4096 ]]
# nobody else can take it
! mkfs.ext4 -q "$lower_dev" >output 2>&1 || fail "the backing device can be written by others"
grep -F "$lower_dev is apparently in use by the system" output

head -c 32M /dev/urandom >data
dd if=data of="$dev" bs=1M oflag=direct status=none
cmp data fs/lower.img
[[ $(count lower write.bytes) == $((32 << 20)) ]]
# a hole goes all the way down
takes fs/lower.img $((32 << 20))
blkdiscard -o 4M -l 8M "$dev"
takes fs/lower.img $((24 << 20))
dd if=/dev/zero of=data bs=1M seek=4 count=8 conv=notrunc status=none
cmp data fs/lower.img
same data "$dev" upper
# a flush, too
before=$(count lower flush.count)
put "$dev" 4 x conv=fsync
(($(count lower flush.count) > before))
has fs/lower.img 4 x

kill -TERM "$lower"
said() { grep -xF "lower: notice: $lower_dev is open in ublkd (pid $upper); serving it until that ends" lower.log; }
wait_until 30 said
put "$dev" 5 y oflag=direct
has fs/lower.img 5 y
has "$dev" 5 y iflag=direct
! is_gone "$lower" || fail "the lower device was stopped under the upper one"
[[ $(grep -c 'serving it until that ends' lower.log) == 1 ]]

stop_server
[[ ! -e $dev ]]
server=$lower
end_server 0
[[ ! -e $lower_dev ]]
nothing_is_left
! grep -h error lower.log upper.log || fail "a stop was not clean"
has fs/lower.img 5 y

# the other way: the upper one ends first
serve lower
lower=$server
serve upper
stop_server
server=$lower
stop_server
nothing_is_left
! grep -h error lower.log upper.log || fail "a stop was not clean"
