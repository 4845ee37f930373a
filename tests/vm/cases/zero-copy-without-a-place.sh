# guest: mini
# rows: 2
# timeout: 120
# A thread's ring has places for the pages of 16384 requests. Devices of the manager that come when all are taken get
# every request as one whose pages could not be registered: they work, slower, and their data are right.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
. "$VM_LIB/manage.sh"
require_feature AUTO_BUF_REG
at_exit remove_definitions
at_exit rm -f /etc/ublkd.conf
printf '[Manager]\nThreads=1\n' >/etc/ublkd.conf
names=(a b c d e)
for name in "${names[@]}"; do
	truncate -s 16M "$name.img"
	mkdir -p /etc/ublk
	cat >"/etc/ublk/$name.conf" <<-X
		[Device]
		LogicalBlockSize=4096
		[Boot]
		Manager=yes
		[Queues]
		Count=1
		Depth=4096
		MaxIO=64K
		CopyMode=zero-copy
		[Backend]
		Type=file
		Path=$WORK/$name.img
	X
done
start_manager
manager_is_ready 60
ublkctl list --json >all.json
for name in "${names[@]}"; do
	dev=$(jq -er --arg name "$name" '.[] | select(.name == $name) | .node' all.json)
	ublkctl status "$name" --json | jq -e 'if type == "array" then .[0] else . end | .features | index("AUTO_BUF_REG")' >/dev/null
	torture --operations=600 --workers=2 --depth=16 --max=64K "$dev" >torture.out 2>&1 || fail "$name: $(<torture.out)"
	echo "$name: $(tail -n 1 torture.out)"
done
kill -TERM "$manager"
manager_ends 60 0
nothing_is_left
