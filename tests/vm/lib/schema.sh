# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced after common.sh by cases that look at JSON. As much of JSON Schema as ublkctl.schema.json uses, in jq, since
# guests have no other validator; a key that is not described is an error here.

schema=/usr/share/ublkd/ublkctl.schema.json

# fits_schema NAME: standard input, one or several texts, is what "ublkctl NAME --json" may print
fits_schema() {
	jq --raw-output --arg name "$1" --slurpfile schema "$schema" '
		def is($t): if $t == "integer" then type == "number" and . == floor else type == $t end;
		def wrong($s; $at): . as $v |
			(if $s | has("$ref") then
				wrong($schema[0]["$defs"][$s["$ref"] | split("/") | last]; $at) else empty end),
			(if $s | has("type") then
				if any([$s.type] | flatten[]; . as $t | $v | is($t)) then empty
				else "\($at): \($v | type) where \($s.type) should be" end else empty end),
			(if ($s | has("enum")) and all($s.enum[]; . != $v) then
				"\($at): \($v) is none of \($s.enum)" else empty end),
			(if ($s | has("minimum")) and ($v | type) == "number" and $v < $s.minimum then
				"\($at): \($v) is below \($s.minimum)" else empty end),
			(if ($s | has("anyOf")) and all($s.anyOf[]; . as $o | [$v | wrong($o; $at)] != []) then
				"\($at): fits none of what it may be" else empty end),
			(if $v | type == "array" then
				($v | keys[]) as $i | $v[$i] | wrong($s.items // {}; "\($at)[\($i)]") else empty end),
			(if $v | type == "object" then
				((($s.required // []) - ($v | keys))[] | "\($at): \(.) is missing"),
				(($v | keys[]) as $k |
					if $s.properties // {} | has($k) then
						$v[$k] | wrong($s.properties[$k]; "\($at).\($k)")
					elif $s | has("additionalProperties") then
						$v[$k] | wrong($s.additionalProperties; "\($at).\($k)")
					elif $s | has("properties") then "\($at): \($k) is not described"
					else empty end)
			else empty end);
		wrong($schema[0]["$defs"][$name]; $name)' >"$WORK/wrong" || return 1
	[[ ! -s $WORK/wrong ]] || { cat "$WORK/wrong" >&2; return 1; }
}
