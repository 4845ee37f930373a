# guest: full
# rows-short: 3
# timeout: 90
# Messages have ids, and `journalctl -x` says what to do about them: on a start, a takeover, a stop that waits, a bad
# definition and a path that the sandbox does not know.
. "$VM_LIB/common.sh"
at_exit journalctl --update-catalog
journalctl --update-catalog
mapfile -t ids < <(sed -n 's/^-- //p' /usr/lib/systemd/catalog/ublkd.catalog)
for id in "${ids[@]}"; do
	journalctl --dump-catalog "$id" >"$WORK/entry"
	grep -q '^Subject: ' "$WORK/entry" || fail "journalctl knows no $id"
done

# explains SUBJECT: what the journal has of the unit says so, since this case began
unit=ublk@told.service
at_exit systemctl reset-failed "$unit"
began=$(date +'%F %T')
explains() {
	journalctl -q -b --no-pager -x -u "$unit" --since "$began" >"$WORK/told"
	grep -qF "Subject: $1" "$WORK/told"
}

cat >"$WORK/told.conf" <<-E
	[Device]
	Size=16M
	[Backend]
	Type=file
	Path=$WORK/told.img
	Create=sparse
E
dev=$(start_device "$WORK/told.conf")
wait_until 20 explains 'Device told is served'
grep -qF '/dev/ublk/told' "$WORK/told" || fail "the entry does not say what the device is called"
systemctl restart "$unit"
wait_until 20 explains 'A new server has taken over told'

exec 5<"$dev"
systemctl --no-block stop "$unit"
wait_until 20 explains 'Stopping told waits for those who use it'
exec 5<&-
wait_until 30 eval "! systemctl is-active $unit"

echo 'Nonsense=yes' >>/etc/ublk/told.conf
! systemctl start "$unit" || fail "it starts with a bad definition"
wait_until 20 explains 'The definition cannot be used'
sed -i '/Nonsense/d; s,^Path=.*,Path=/srv/other.img,' /etc/ublk/told.conf
systemctl reset-failed "$unit"
! systemctl start "$unit" || fail "it starts in a sandbox that is not for it"
wait_until 20 explains 'The sandbox of told is older than its definition'
grep -q 'systemctl daemon-reload' "$WORK/told"
