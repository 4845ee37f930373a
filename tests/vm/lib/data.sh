# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after serve.sh by cases that look at what arrives in the backing file.

# scratch_fs: an empty ext4 in $WORK/fs; on it direct I/O really is direct, unlike in $WORK itself (tmpfs). Its
# journal is written when somebody asks for it, and its inodes by mkfs, so that no flush of the disk comes by chance.
# Before the first serve: a case ends in reverse order.
scratch_fs() {
	mkfs.ext4 -q -F -N 64 -E lazy_itable_init=0,nodiscard "$SCRATCH0"
	mkdir -p "$WORK/fs"
	mount -o commit=900 "$SCRATCH0" "$WORK/fs"
	at_exit umount "$WORK/fs"
}

# define_file NAME SIZE QUEUES DEPTH [LINE...]: $WORK/NAME.conf, a device of a file on scratch_fs; lines of [Backend] and
# of further sections follow
define_file() {
	{
		printf '[Device]\nSize=%s\n[Queues]\nCount=%s\nDepth=%s\n' "${@:2:3}"
		printf '[Backend]\nType=file\nPath=%s\nCreate=sparse\n' "$WORK/fs/$1.img"
		(($# < 5)) || printf '%s\n' "${@:5}"
	} >"$WORK/$1.conf"
}

# queue_attr DEV NAME: of /sys/block/ublkbN/queue
queue_attr() { cat "/sys/block/${1#/dev/}/queue/$2"; }

# allocated FILE: bytes that it takes on its file system
allocated() { echo $(($(stat -L -c '%b * %B' "$1"))); }

# takes FILE BYTES: so many, and up to 64 KiB for the file system's own map of the file
takes() {
	local got
	got=$(allocated "$1")
	((got >= $2 && got <= $2 + 65536)) || fail "$1 takes $got bytes instead of $2"
}

# forget DEV: what is read next comes from the server
forget() { blockdev --flushbufs "$1"; }

# same FILE DEV: byte for byte, as long as each other, and all of it asked of server NAME
same() {
	local before
	forget "$2"
	before=$(count "$3" read.bytes)
	cmp "$1" "$2" || fail "$2 differs from $1"
	before=$(($(count "$3" read.bytes) - before))
	((before == $(stat -c %s "$1"))) || fail "$before bytes of $2 were asked of the server"
}

# random N: at least 0 and less than N; $RANDOM alone has 15 bits
random() { echo $(((RANDOM << 15 | RANDOM) % $1)); }

# stop_and_look DEV: told to stop the server does, and nothing of the device is left
stop_and_look() {
	stop_server
	[[ ! -e $1 ]] || fail "$1 is still there"
	[[ ! -e ${1/ublkb/ublkc} ]] || fail "${1/ublkb/ublkc} is still there"
	nothing_is_left
	! pgrep -x ublkd || fail "a server still runs"
}
