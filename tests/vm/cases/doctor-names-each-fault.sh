# guest: full
# rows-short: 2
# timeout: 240
# Each fault that ublkctl doctor knows, provoked one after the other: it is found, with its severity, and not found any
# more when it is gone. What a machine cannot be made to have is made up in a mount namespace, where doctor reads it:
# another kernel, another systemd, modules that are missing. Some more are in doctor-finds-what-is-broken.sh.
. "$VM_LIB/common.sh"

# finds SEVERITY CHECK TEXT [IN...]: one finding of that kind says TEXT, and nothing worse is found; the command IN runs
# doctor somewhere else
declare -A statuses=([note]=0 [warning]=1 [error]=2)
finds() {
	expect_status "${statuses[$1]}" "${@:4}" ublkctl doctor --json >"$WORK/doctor.json"
	jq -e --arg severity "$1" --arg check "$2" --arg text "$3" 'any(.findings[]; .severity == $severity and
		.check == $check and (.reason | contains($text)) and .remedy != "")' "$WORK/doctor.json" >/dev/null ||
		fail "no $1 of $2 with \"$3\": $(jq -c .findings "$WORK/doctor.json")"
	echo "$1 of $2: $3"
}
is_well() {
	expect_status 0 ublkctl doctor --json >"$WORK/doctor.json"
	jq -e --arg check "$1" '.checks[] | select(.name == $check) | .severity == "ok" or .severity == "note"' \
		"$WORK/doctor.json" >/dev/null || fail "$1 is not well: $(<"$WORK/doctor.json")"
}
# over FILE COMMAND...: with standard input in the place of FILE, or with an empty directory, where it is one
over() {
	cat >"$WORK/over"
	unshare --mount bash -c 'if [[ -d $1 ]]; then mount -t tmpfs tmpfs "$1"; else mount --bind "$0" "$1"; fi
		"${@:2}"' "$WORK/over" "$@"
}
release=$(uname -r)
mkdir -p /etc/ublk

# the module
modprobe -r ublk_drv
finds note module 'is not loaded'
at_exit rm -f /etc/modprobe.d/blocked.conf
echo 'install ublk_drv /bin/false' >/etc/modprobe.d/blocked.conf
finds error module 'keeps ublk_drv from being loaded'
rm /etc/modprobe.d/blocked.conf
finds error module 'has no module ublk_drv' over "/lib/modules/$release/modules.dep" <<<''
finds error module 'kernel.modules_disabled' over /proc/sys/kernel/modules_disabled <<<1
modprobe ublk_drv
is_well module
mode=$(stat -c %a /dev/ublk-control)
chmod 666 /dev/ublk-control
finds warning module 'everybody may write'
chmod "$mode" /dev/ublk-control
mv /dev/ublk-control /dev/away
expect_status 2 ublkctl doctor --json >"$WORK/doctor.json"
mv /dev/away /dev/ublk-control
jq -e 'any(.findings[]; .reason | contains("its control device is not there"))' "$WORK/doctor.json" >/dev/null
is_well module

# kernels that are known for trouble, and one that panics
finds error kernel 'crashes the driver' over /proc/sys/kernel/osrelease <<<6.17.0-30-generic
finds error kernel 'crashes the driver' over /proc/sys/kernel/osrelease <<<6.18.4
finds warning kernel 'CVE-2025-37906' over /proc/sys/kernel/osrelease <<<6.8.0-45-generic
finds warning kernel '6.12 and newer' over /proc/sys/kernel/osrelease <<<6.11.2
finds warning kernel 'can hang' over /proc/sys/kernel/osrelease <<<6.18.40
finds note kernel 'CVE-2026-53124' over /proc/sys/kernel/osrelease <<<7.0.9
finds note kernel 'cannot be followed by another' over /proc/sys/kernel/osrelease <<<6.12.5
finds warning kernel 'panics on warnings' over /proc/sys/kernel/panic_on_warn <<<1
finds note io_uring 'one group' over /proc/sys/kernel/io_uring_disabled <<<1
is_well kernel

# systemd
old_systemd() {
	local library
	library=$(echo /usr/lib/*/systemd/libsystemd-shared-*.so)
	unshare --mount bash -c 'mount -t tmpfs tmpfs "${0%/*}" && : >"${0%/*}/libsystemd-shared-$1.so" && "${@:2}"' \
		"$library" "$@"
}
finds error systemd 'version 249 is too old' old_systemd 249
finds note systemd 'RestartMode=direct' old_systemd 252
finds note systemd 'does not run here' over /run/systemd </dev/null

# udev
finds error udev 'is not installed' over /usr/lib/udev/rules.d </dev/null
printf '[Device]\nSize=16M\n[Backend]\nType=file\nPath=%s\nCreate=sparse\n' "$WORK/ill.img" >"$WORK/ill.conf"
node=$(start_device "$WORK/ill.conf")
is_well udev
rm /dev/ublk/ill
finds error udev '/dev/ublk/ill is not'
ln -s ../ublkb77 /dev/ublk/ill
finds error udev '/dev/ublk/ill does not lead to the device'
ln -sfn "../${node##*/}" /dev/ublk/ill
is_well udev

# limits
pid=$(systemctl show -P MainPID ublk@ill.service)
limit=$(prlimit --pid "$pid" --nofile --noheadings --raw --output SOFT)
prlimit --pid "$pid" --nofile=8:
finds warning limits 'descriptors that it may have'
prlimit --pid "$pid" --nofile="$limit:"
is_well limits
drop_in=/run/systemd/system/ublk@ill.service.d
mkdir -p "$drop_in"
at_exit rm -rf "$drop_in"
printf '[Service]\nLimitMEMLOCK=0\n' >"$drop_in/limit.conf"
systemctl daemon-reload
systemctl restart ublk@ill.service
finds warning limits 'has not locked its memory'

# an orphan, which nobody removes
at_exit systemctl unmask --runtime ublk-reap@ill.service
systemctl mask --runtime ublk-reap@ill.service
printf '[Service]\nRestart=no\n' >"$drop_in/limit.conf"
systemctl daemon-reload
systemctl restart ublk@ill.service
is_well limits
systemctl kill --signal=KILL ublk@ill.service
is_quiesced() { [[ $(ublkctl list --json | jq -r '.[] | select(.name == "ill") | .state') == quiesced ]]; }
wait_until 30 is_quiesced
finds warning orphans 'is quiesced and has no server'
wait_until 30 systemctl -q is-failed ublk@ill.service
systemctl reset-failed ublk@ill.service
systemctl start ublk@ill.service
is_well orphans

# definitions that cannot work, and two that fight over an image
at_exit rm -f /etc/ublk/rival.conf
printf '[Backend]\nType=file\nPath=/nowhere/disk.img\n' >/etc/ublk/rival.conf
finds warning definitions '/nowhere/disk.img is not there'
printf '[Backend]\nType=file\nPath=%s\n' "$WORK/ill.img" >/etc/ublk/rival.conf
finds error definitions 'ill.img'
sed -i 's/ill\.img/well.img/' /etc/ublk/ill.conf
finds error backing 'open in the server of ill'
sed -i 's/well\.img/ill.img/' /etc/ublk/ill.conf

# a disk that others use
printf '[Backend]\nType=file\nPath=%s\n' "$SCRATCH0" >/etc/ublk/rival.conf
is_well backing
mkswap -q "$SCRATCH0"
swapon "$SCRATCH0"
at_exit swapoff -a
finds error backing 'swap space'
swapoff "$SCRATCH0"
mkfs.ext4 -qF "$SCRATCH0"
mkdir "$WORK/mnt"
mount "$SCRATCH0" "$WORK/mnt"
at_exit umount -q "$WORK/mnt"
finds error backing "mounted on $WORK/mnt"
umount "$WORK/mnt"
is_well backing
dmsetup create rival --table "0 2048 linear $SCRATCH0 0"
remove_mapping() { [[ ! -e /dev/mapper/rival ]] || dmsetup remove --retry rival; }
at_exit remove_mapping
finds error backing 'used by dm-'
remove_mapping
is_well backing
