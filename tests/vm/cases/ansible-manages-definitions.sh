# guest: full
# rows: 1
# rows-short:
# timeout: 900
# timeout-long: 7200
# extra: ansible
# The role for Ansible makes definitions, and with them devices; a second run changes nothing, and one that changes some
# definitions touches no other device. Ansible takes minutes in an emulated machine, so this is for --long;
# tests/lint/ansible looks at the files of the role each time.
. "$VM_LIB/common.sh"
n=$((VM_LONG ? 50 : 4))
rm -rf /etc/ublk
at_exit rm -rf /etc/ublk "$HOME/.ansible"
at_exit systemctl stop 'ublk@*.service'

# definitions [CHANGE]: d0, d1 ... as they are wanted
definitions() {
	jq -n --argjson n $n "{ublkd_devices: [range(\$n) | {name: \"d\(.)\", definition: {
		Device: {Size: \"4M\", ReadOnly: false}, Backend: {Type: \"null\"}, Boot: {Options: [\"nofail\"]}}}]}
		${1+| $1}" >wanted.json
}
cat >play.yml <<-X
	- hosts: localhost
	  gather_facts: false
	  vars_files: [$WORK/wanted.json]
	  roles: [ublkd]
X
# play [OPTION...]: prints what Ansible counts as changed
play() {
	local began=$SECONDS status=0
	LD_LIBRARY_PATH=$VM_EXTRA/lib/x86_64-linux-gnu PYTHONHOME=$VM_EXTRA PYTHONPATH=$VM_EXTRA/lib/python3/dist-packages \
		LC_ALL=C.UTF-8 ANSIBLE_PYTHON_INTERPRETER=$VM_EXTRA/bin/python3 ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 \
		"$VM_EXTRA/bin/python3" "$VM_EXTRA/bin/ansible-playbook" -i localhost, -c local play.yml "$@" \
		>play.log 2>&1 </dev/null || status=$?
	echo "figure: a run of $n definitions: $((SECONDS - began)) s" >&2
	sed -n 's/^localhost .* changed=\([0-9]*\) .*/\1/p' play.log
	return $status
}
changed() {
	local is
	is=$(play "${@:2}") || fail "$(<play.log)"
	[[ $is == "$1" ]] || fail "$is tasks have changed something, not $1: $(<play.log)"
}
# pids: of all servers
pids() { systemctl show -p Id -p MainPID 'ublk@*.service' | paste -sd '  \n' | grep -v 'MainPID=0 ' | sort; }
pids_of_others() { grep -vE '@d(1|2|3)[.]service' <<<"$1"; }
pid_of() { systemctl show -P MainPID "ublk@$1.service"; }

definitions
changed 4
for ((i = 0; i < n; i++)); do
	[[ -b /dev/ublk/d$i ]]
done
before=$(pids)
(($(wc -l <<<"$before") == n))
changed 0
[[ $(pids) == "$before" ]]

# one that a running server can take, one that none can, and one that is gone
definitions '.ublkd_devices[1].definition.Limits.ReadIOPS = 1000 | .ublkd_devices[2].definition.Queues.Depth = 16
	| .ublkd_devices[3] = {name: "d3", state: "absent"}'
changed 4
after=$(pids)
[[ $(pids_of_others "$after") == "$(pids_of_others "$before")" ]] || fail "before: $before; after: $after"
grep -F "MainPID=$(pid_of d1) " <<<"$before"
expect_status 1 grep -F "MainPID=$(pid_of d2) " <<<"$before"
[[ $(ublkctl status d2 --json | jq .depth) =~ ^1[67]$ && ! -e /etc/ublk/d3.conf && ! -e /dev/ublk/d3 ]]
grep -x 'ReadIOPS=1000' /run/ublkd/d1/definition
[[ $(ublkctl apply) == 'nothing to do' ]]
