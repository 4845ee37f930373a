# guest: full
# rows-short: 2
# timeout: 240
# What ublkd-tutorial(7) shows: its commands in their order, each of which succeeds and prints what the page says, and
# no more. How the page is marked for this stands in its first lines.
. "$VM_LIB/common.sh"
page=/usr/share/man/man7/ublkd-tutorial.7
cp /etc/fstab "$WORK/fstab"
restore() {
	local file
	umount -q /srv/data 2>/dev/null
	swapoff /dev/ublk/scratch 2>/dev/null
	systemctl stop 'ublk@*.service' ublkd.service
	[[ ! -e /run/tutorial.pid ]] || kill "$(</run/tutorial.pid)"
	for file in data scratch remote small1 small2; do
		rm -rf "/etc/ublk/$file.conf" "/etc/ublk/$file.conf.d"
	done
	rm -rf /srv/images/data.img /run/tutorial.*
	cp "$WORK/fstab" /etc/fstab
	systemctl daemon-reload
}
at_exit restore
[[ -z $(ls -A /etc/ublk) ]] || fail "there are definitions already: $(ls /etc/ublk)"

# matches LINE PATTERN: with anything in the place of three dots, and one blank in that of many
matches() {
	local line pattern
	line=$(tr -s ' \t' ' ' <<<"$1")
	pattern=$(sed -E 's/[][*?\\]/\\&/g; s/\.{3}/*/g' <<<"$2" | tr -s ' \t' ' ')
	# shellcheck disable=SC2053 # a pattern it is
	[[ ${line% } == ${pattern% } ]]
}

# compare: the lines of $output with those of $shown
compare() {
	local skip=0 want i=0
	for want in "${shown[@]}"; do
		if [[ $want == ... ]]; then
			skip=1
			continue
		fi
		while ((skip && i < ${#output[@]})) && ! matches "${output[i]}" "$want"; do
			i=$((i + 1))
		done
		if ((i == ${#output[@]})) || ! matches "${output[i]}" "$want"; then
			fail "$command: \"$want\" does not come, but: $(printf '\n%s' "${output[@]}")"
		fi
		i=$((i + 1)) skip=0
	done
	((skip || i == ${#output[@]})) || fail "$command: prints more than is shown: $(printf '\n%s' "${output[@]:i}")"
}

# run: $command, whose output is to be $shown
n_run=0 command='' shown=()
run() {
	local status=0 begin=$EPOCHREALTIME
	[[ -n $command ]] || return 0
	bash -c "$command" </dev/null >"$WORK/output" 2>&1 9<&- || status=$?
	echo "${command%%$'\n'*}   $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $begin }") s"
	((status == 0)) || fail "$command: status $status: $(<"$WORK/output")"
	mapfile -t output <"$WORK/output"
	compare
	n_run=$((n_run + 1))
	command=''
}

# do_display: the commands in $lines
do_display() {
	local line end=''
	[[ ${lines[0]-} == '# '* ]] || return 0
	for line in "${lines[@]}"; do
		if [[ -n $end ]]; then
			command+=$'\n'$line
			[[ $line != "$end" ]] || end=
		elif [[ $line == '# '* ]]; then
			run
			command=${line#'# '} shown=()
			[[ $command != *'<<E' ]] || end=E
		else
			shown+=("$line")
		fi
	done
	run
}

needs='' in_display=0
mapfile -t source <"$page"
for line in "${source[@]}"; do
	case $line in
	'.\" needs '*) needs=${line##* } ;;
	'.Bd -literal'*) in_display=1 lines=() ;;
	.Ed)
		if [[ -z $needs ]] || has_feature "$needs"; then
			do_display
		fi
		needs='' in_display=0
		;;
	*) ((!in_display)) || lines+=("${line//\\&/}") ;;
	esac
done
((n_run >= 40)) || fail "only $n_run commands were found in $page"
echo "figure: $n_run commands"
