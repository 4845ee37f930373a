# SPDX-License-Identifier: LGPL-2.1-or-later

function __ublkctl_names
    # a user who may not know all is shown the names all the same
    ublkctl list --all --no-legend 2>/dev/null | string match -rv '^- ' | string replace -r ' .*' ''
end

complete -c ublkctl -f
complete -c ublkctl -n __fish_use_subcommand -a list -d 'ublk devices, whoever made them'
complete -c ublkctl -n __fish_use_subcommand -a status -d 'everything about one device'
complete -c ublkctl -n __fish_use_subcommand -a stats -d 'what queues have counted, and how long it took'
complete -c ublkctl -n __fish_use_subcommand -a top -d 'the busiest devices, every second'
complete -c ublkctl -n __fish_use_subcommand -a metrics -d 'the same for monitoring, as text'
complete -c ublkctl -n __fish_use_subcommand -a check -d 'find errors in definitions'
complete -c ublkctl -n __fish_use_subcommand -a cat -d 'files that make up a definition'
complete -c ublkctl -n __fish_use_subcommand -a show -d 'what a definition means, with all defaults'
complete -c ublkctl -n __fish_use_subcommand -a apply -d 'make what runs what the definitions say'
complete -c ublkctl -n __fish_use_subcommand -a stop -d 'stop devices, and what stands upon them first'
complete -c ublkctl -n __fish_use_subcommand -a gc -d 'remove what dead servers have left'
complete -c ublkctl -n __fish_use_subcommand -a doctor -d 'find what keeps devices from working, and say what to do'
complete -c ublkctl -n __fish_use_subcommand -a features -d 'what the running kernel can do'
complete -c ublkctl -n '__fish_seen_subcommand_from status stats cat show apply stop' -a '(__ublkctl_names)'
complete -c ublkctl -n '__fish_seen_subcommand_from check' -F -a '(__ublkctl_names)'
complete -c ublkctl -s a -l all -n '__fish_seen_subcommand_from list' -d 'definitions that do not run too'
complete -c ublkctl -s w -l watch -n '__fish_seen_subcommand_from stats top' -d 'again and again'
complete -c ublkctl -l count -x -n '__fish_seen_subcommand_from stats top' -d 'end after so many times'
complete -c ublkctl -l format -x -n '__fish_seen_subcommand_from metrics' -a 'openmetrics prometheus' -d 'which text'
complete -c ublkctl -s o -l output -r -F -n '__fish_seen_subcommand_from metrics' -d 'replace this file'
complete -c ublkctl -l dry-run -n '__fish_seen_subcommand_from apply gc stop' -d 'only say what would be done'
complete -c ublkctl -s y -l yes -n '__fish_seen_subcommand_from stop' -d 'do not ask'
complete -c ublkctl -l force -x -n '__fish_seen_subcommand_from gc' -a '(__ublkctl_names)' -d 'remove this one'
complete -c ublkctl -s j -l json -d 'print JSON'
complete -c ublkctl -l no-legend -d 'print no headings'
complete -c ublkctl -s h -l help -d 'show a summary'
complete -c ublkctl -l version -d 'show the version'
