# guest: mini
# rows-short: 2
# timeout: 300
# timeout-long: 900
# [Fault] PowerCut=: a SIGKILL of the server is a power cut. What a FLUSH or FUA acknowledged is there with the next
# server, of the rest some is and some is not; and a clean stop loses nothing. LyingFlush= is caught by the same check.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/data.sh"
scratch_fs

# define SEED FAULT...
define() {
	cat >cut.conf <<-E
		[Device]
		Size=64M
		[Backend]
		Type=file
		Path=$WORK/fs/cut.img
		Create=sparse
		[Queues]
		Count=2
		[Recovery]
		Mode=none
		[Fault]
		PowerCut=yes
		Seed=$1
	E
	(($# == 1)) || printf '%s\n' "${@:2}" >>cut.conf
}

# What is on the disk is told by a letter for each of 128 blocks.
# write LETTER FIRST N
write() {
	head -c $(($3 * 4096)) /dev/zero | tr '\0' "$1" |
		dd of="$dev" bs=4096 seek="$2" iflag=fullblock oflag=direct status=none
}
# letters: of all blocks; a block of a and b is "?", of anything else "!"
letters() {
	dd if="$dev" bs=512K count=1 iflag=direct status=none | tr '\0' _ | fold -w 4096 |
		awk '{ c = substr($0, 1, 1); known = /^[ab]*$/; gsub(c, ""); printf "%s", $0 == "" ? c : known ? "?" : "!" }
			END { print "" }'
}
flush() { dd if=/dev/null of="$dev" conv=fsync,notrunc status=none; }

lost=0 kept=0
for ((seed = 1; seed <= (VM_LONG ? 20 : 3); seed++)); do
	define "$seed"
	serve cut
	((seed > 1)) || grep -q 'a kill of the server is a power cut' cut.log
	[[ $(queue_attr "$dev" write_cache) == 'write back' ]]
	write a 0 128
	flush
	# FUA; the kernel sends a FLUSH with it
	for i in 3 64 127; do
		put "$dev" "$i" c oflag=direct,dsync
	done
	write b 0 3
	write b 4 60
	write b 65 62
	# users see all of it
	[[ $(letters) == "$(printf '%0128d' 0 | tr 0 b | sed 's/./c/4; s/./c/65; s/./c/128')" ]]
	kill_server

	serve cut
	now=$(letters)
	# blocks are of 4096 bytes here, and sectors of 512: a write that was torn gives a block of both
	[[ $now =~ ^[abc?]{128}$ ]] || fail "what was flushed is gone: $now"
	[[ ${now:3:1}${now:64:1}${now:127:1} == ccc ]] || fail "what was written with O_DSYNC is gone: $now"
	a=${now//[^a]/} b=${now//[^b]/}
	((lost += ${#a}, kept += ${#b})) || true
	stop_server
done
((lost > 0)) || fail "no write was lost: there is no cache"
((kept > 0)) || fail "all that was not flushed was lost"

# a clean stop
define 1
serve cut
write d 0 128
stop_server
serve cut
[[ $(letters) == "$(printf '%0128d' 0 | tr 0 d)" ]]

# the check above finds a FLUSH that lies
stop_server
define 1 LyingFlush=yes
serve cut
grep -q 'flushes do nothing' cut.log
write e 0 128
flush
kill_server
define 1
serve cut
[[ $(letters) == *d* ]] || fail "a FLUSH that lied was not caught"
stop_server
nothing_is_left
