# guest: full
# rows-short: 1
# timeout: 180
# What each command of ublkctl prints with --json, about devices that run, that wait for a server and that come and go,
# is what ublkctl.schema.json says.
. "$VM_LIB/common.sh"
. "$VM_LIB/schema.sh"
# A validator that finds nothing would be of no use.
refuses() { expect_status 1 fits_schema "$1" 2>"$WORK/wrong.$1"; }
refuses list <<<'[{"name": "a"}]'
grep -q 'list\[0\]: state is missing' "$WORK/wrong.list"
refuses cat <<<'[{"file": "a", "content": "b", "more": 1}]'
refuses cat <<<'[{"file": "a", "content": 1}]'
refuses apply <<<'{"daemon_reload": false, "devices": [{"name": "a", "action": "dance"}]}'
fits_schema cat <<<'[{"file": "a", "content": "b"}]'

# prints STATUS NAME [ARGUMENT...]: "ublkctl NAME ARGUMENT... --json" ends with this status, and fits
prints() {
	expect_status "$1" ublkctl "${@:2}" --json >"$WORK/json"
	[[ -s $WORK/json ]] || fail "ublkctl ${*:2} --json prints nothing"
	fits_schema "$2" <"$WORK/json" || fail "ublkctl ${*:2} --json: $(<"$WORK/json")"
}
has() { jq -es "$1" "$WORK/json" >/dev/null || fail "no $1 in $(<"$WORK/json")"; }

mkdir -p /etc/ublk
at_exit rm -rf /etc/ublk/served.conf /etc/ublk/served.conf.d /etc/ublk/other.conf /etc/ublk/bad.conf
at_exit systemctl reset-failed ublk@other.service
at_exit systemctl stop ublk@served.service ublk@other.service
printf '[Device]\nSize=16M\nDescription=\303\244\n[Backend]\nType=file\nPath=%s\nCreate=sparse\n' "$WORK/served.img" \
	>/etc/ublk/served.conf
printf '[Device]\nSize=4M\n[Backend]\nType=memory\n[Recovery]\nMode=queue\n' >/etc/ublk/other.conf
prints 0 apply --dry-run
has '.[0].devices | length == 2 and all(.action == "start" and .result == "planned")'
prints 0 apply
has '.[0].daemon_reload and (.[0].devices | all(.result == "done"))'
prints 0 apply
has '.[0].devices | all(.action == "nothing" and .result == null)'

mkfs.ext4 -q /dev/ublk/served
mkdir -p "$WORK/mnt"
mount /dev/ublk/served "$WORK/mnt"
at_exit umount -q "$WORK/mnt"
mkswap -q /dev/ublk/other
swapon /dev/ublk/other
prints 0 list --all
has '.[0] | length == 2 and all(.holders | length == 1)'
prints 0 status served
has '.[0].counters.queues | length > 0'
prints 0 features
has '.[0] | any(.available)'
prints 0 stats
prints 0 stats served --watch=0.05 --count=2
has 'length == 2'
prints 0 top --watch=0.05 --count=2
has 'length == 2 and all(length == 2)'
prints 0 cat served
prints 0 show served
has '.[0].Device.Size == "16M"'
prints 0 check
prints 0 doctor
has '.[0].severity == "ok" or .[0].severity == "note"'
echo '[Device]' >/etc/ublk/bad.conf
prints 78 check
has '.[0] | length > 0'
prints 2 doctor
has '.[0].findings | any(.check == "definitions")'
prints 1 apply
has '.[0].devices | any(.action == "refused")'
rm /etc/ublk/bad.conf

prints 0 stop served other --dry-run
has '.[0] | length == 4 and all(.result == "planned")'
let_go() { exec 8>&-; }
at_exit let_go
exec 8>"$WORK/mnt/held"
prints 1 stop served --yes
has '.[0][-1] | .result == "failed" and .reason != null'
let_go
prints 0 gc
has '.[0] == []'

# a server that is not started again, and whose device nobody removes
at_exit systemctl unmask --runtime ublk-reap@other.service
systemctl mask --runtime ublk-reap@other.service
mkdir -p /run/systemd/system/ublk@other.service.d
at_exit rm -rf /run/systemd/system/ublk@other.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/ublk@other.service.d/dead.conf
swapoff /dev/ublk/other
systemctl daemon-reload
systemctl kill --signal=KILL ublk@other.service
wait_until 30 systemctl is-failed -q ublk@other.service
is_quiesced() { [[ $(ublkctl status other --json | jq -r .state) == quiesced ]]; }
wait_until 30 is_quiesced
prints 1 status other
has '.[0].state == "quiesced"'
prints 1 doctor
has '.[0].findings | any(.check == "orphans")'
prints 0 gc --dry-run
has '.[0] | any(.name == "other" and .action == "would-remove")'
prints 0 gc
has '.[0] | any(.name == "other" and .action == "removed")'

prints 0 stop served --yes
has '.[0] | length == 2 and all(.result == "done")'
