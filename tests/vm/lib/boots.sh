# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after host.sh by cases that boot a machine with ublk devices in fstab more than once. The images are on
# $WORK/data.img, which keeps them; what is in $WORK/dest is what the machine has installed.
PATH=$PATH:/usr/sbin:/sbin
[[ -n ${VM_DEST-} ]] || fail "there is nothing installed to test"
cp -a "$VM_DEST" dest
[[ ! -e ${VM_DEST%/*}/units ]] || cp -a "${VM_DEST%/*}/units" .
VM_DEST=$WORK/dest
mkdir -p images dest/etc/ublk dest/srv/images dest/usr/local/bin
: >dest/etc/fstab
# the emulated machine is slow; before 254 it was one setting with that of services
mkdir -p dest/etc/systemd/system.conf.d
printf '[Manager]\nDefaultDeviceTimeoutSec=300\n' >dest/etc/systemd/system.conf.d/boots.conf

# with_storage: LVM, LUKS and md are installed, too
with_storage() {
	local suite=trixie
	((VM_ROW != 3)) || suite=bookworm
	cp -a "$("$VM_TESTS/prepare" "storage-$suite")/root/." dest/
	mkdir -p dest/etc/systemd/system/sysinit.target.wants
	ln -s /usr/lib/systemd/system/blk-availability.service dest/etc/systemd/system/sysinit.target.wants/
	# they want a mail address
	ln -s /dev/null dest/etc/systemd/system/mdmonitor.service
	ln -s /dev/null dest/etc/systemd/system/mdmonitor-oneshot.service
}

# device NAME [LINE...]: a definition, with 64 MiB at /srv/images/NAME.img if no line has another path
device() {
	local name=$1 line path="Path=/srv/images/$1.img"
	shift
	for line; do
		[[ $line != Path=* ]] || path=
	done
	printf '%s\n' '[Device]' Size=64M '[Backend]' Type=file Create=sparse ${path:+"$path"} "$@" >"dest/etc/ublk/$name.conf"
}

# file_system NAME [ARGUMENT...]: ext4 in the image, which the definition does not have to make then
file_system() {
	local name=$1
	shift
	truncate -s 64M "images/$name.img"
	mke2fs -q -t ext4 "$@" "images/$name.img"
	truncate -s 64M "images/$name.img"
}

# tab LINE...: of fstab; the directories are made
tab() {
	local line where
	for line; do
		echo "$line" >>dest/etc/fstab
		where=$(awk '{ print $2 }' <<<"$line")
		[[ $where != /* ]] || mkdir -p "dest$where"
	done
}

# images_to_disk: what is in images/, on a disk with a file system that fstab mounts
images_to_disk() {
	new_disk data.img 3G
	mke2fs -q -t ext4 -L images -d images data.img
	tab 'LABEL=images /srv/images ext4 defaults 0 2'
	rm -r images
}

# Writes one numbered line after another with fsync, through one descriptor, and tells each that is written.
cat >dest/usr/local/bin/numbered-lines <<'SH'
#!/bin/bash
exec 3>>"$2/lines"
n=$(wc -l <"$2/lines")
while ((++n)) && echo "$n" | dd conv=fsync,notrunc oflag=append status=none >&3; do
	echo "written $1 $n" >/run/written
	sleep 0.1
done
SH
chmod +x dest/usr/local/bin/numbered-lines

# What the guests' scripts begin with
# shellcheck disable=SC2016,SC2034
in_guest='
	set -euo pipefail
	fail() { echo "failed: $*" >&2; exit 1; }
	trap "echo failed: line \$LINENO: \$BASH_COMMAND" ERR
	until_it_is() {
		local i
		for ((i = 0; i < 600; i++)); do
			! "$@" >/dev/null 2>&1 || return 0
			sleep 0.1
		done
		"$@" || true
		fail "not within a minute: $*"
	}
	# load NAME...: numbered-lines on /srv/NAME, as a service in the slice of users, to the end of the machine; what it
	# has written is told by a process that nobody stops
	load() {
		local name
		mkfifo /run/written
		(exec cat <>/run/written) &
		for name; do
			systemd-run -q --slice=user.slice --unit="load-$name" numbered-lines "$name" "/srv/$name"
		done
	}
	# came_up: boot is over, and nothing went wrong that has to do with us
	came_up() {
		local state
		state=$(systemctl is-system-running || true)
		[[ $state == running ]] || {
			systemctl --no-pager --failed
			journalctl -b -q --no-pager -p warning
			fail "the system is $state"
		}
		! journalctl -b -q --no-pager -o short-monotonic | grep -E "ordering cycle|[Tt]imed out|Dependency failed" ||
			fail "see above"
		! journalctl -b -q --no-pager -p warning -u "ublk*" | grep . || fail "a server has something to complain of"
	}
	is_from() { # WHERE DEVICE
		[[ $(realpath "$(findmnt -no SOURCE "$1")") == "$(realpath -e "$2")" ]] || fail "$1 is not from $2"
	}
'

# boot NAME COMMANDS: what the machine says of its end is in NAME.end, what it has written is in written
boot() {
	VM_KEEP=$WORK/$1 guest --full --timeout 900 --disk data.img --append \
		'systemd.journald.forward_to_console=1 systemd.journald.max_level_console=debug' -- "$in_guest $2" >"$1.out" 2>&1 ||
		fail "$1: status $?"
	grep -vE '^written ' "$1.out" | sed "s/^/$1: /" || true
	sed -n 's/^written //p' "$1.out" >>written
	tr -d '\r' <"$1/console.log" >"$1.console"
	sed -n '/vm-case: end of command/,$p' "$1.console" >"$1.end"
	! grep -aE 'blocked for more than|BUG:|Oops|WARNING:' "$1.console" || fail "$1: the kernel complained"
	rm -rf "$1"
}

complain() {
	cat "$1.end"
	shift
	fail "$*"
}

# went_down_in NAME SECONDS: by the guest's clock
went_down_in() {
	local seconds
	seconds=$(grep -aoE '^(<[0-9]+>)?\[ *[0-9]+\.' "$1.end" | grep -oE '[0-9]+\.$' | awk 'NR == 1 { a = $1 } END { print $1 - a }') ||
		complain "$1" "$1: no times"
	echo "$1: down in $seconds s"
	((seconds <= $2)) || complain "$1" "$1: $seconds s, not $2"
}

# comes_before NAME FIRST SECOND: the first line that matches
comes_before() {
	local a b
	a=$(grep -anE "$2" "$1.end" | head -n 1 | cut -d: -f1) || true
	b=$(grep -anE "$3" "$1.end" | head -n 1 | cut -d: -f1) || true
	[[ -n $a && -n $b ]] || a=1 b=0
	((a < b)) || complain "$1" "$1: '$2' in line '$a', '$3' in line '$b'"
}

# shellcheck disable=SC2016,SC2034
# all_is_there FILE: the lines that FILE tells of are where they were written; for a guest
in_guest+='
	all_is_there() {
		local name n
		while read -r name n; do
			[[ $(sed -n "${n}p" "/srv/$name/lines") == "$n" ]] || fail "line $n of $name was written, and is lost"
			echo "$name has all of $n lines"
		done < <(awk "\$2 > max[\$1] { max[\$1] = \$2 } END { for (name in max) print name, max[name] }" "$1")
	}
'
