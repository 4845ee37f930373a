# guest: mini
# rows-short: 1
# timeout: 120
# [Fault] HangWhile=: requests hang as long as the file is there, and go on when it is not; none is lost. The server
# itself does not hang: a stop waits for the requests and then goes on.
. "$VM_LIB/common.sh"
. "$VM_LIB/serve.sh"
cat >hang.conf <<-E
	[Device]
	Size=16M
	[Backend]
	Type=memory
	[Queues]
	Count=1
	[Fault]
	HangWhile=$WORK/hang
E
hanging() { [[ $(count hang in_flight) == "$1" ]]; }
answered() { (($(count hang write.count) > $1)); }

serve hang
grep -q "requests hang while there is a $WORK/hang" hang.log
put "$dev" 0 a oflag=direct
has "$dev" 0 a iflag=direct

touch hang
began=$(count hang write.count)
writers=()
for i in 1 2 3; do
	put "$dev" "$i" b oflag=direct &
	writers+=($!)
done
wait_until 10 hanging 3
if wait_until 2 answered "$began" 2>/dev/null; then
	fail "a request was answered while $WORK/hang was there"
fi
hanging 3
rm hang
wait "${writers[@]}"
wait_until 10 hanging 0
for i in 1 2 3; do
	has "$dev" "$i" b iflag=direct
done

# a stop meanwhile: the close waits for the write-back
touch hang
put "$dev" 4 c &
writer=$!
wait_until 20 hanging 1
kill -TERM "$server"
! is_gone "$server" || fail "it stopped with requests that hang"
rm hang
wait "$writer"
end_server 0
nothing_is_left
