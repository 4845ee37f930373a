# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced by the checks of this directory. Sets $TMP, which goes away at the end, and counts what
# was found: a check ends with "finish".
set -euo pipefail
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"

TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
n_found=0

# need COMMAND PACKAGE: a check that cannot be done is not one that passed
need() {
	command -v "$1" >/dev/null && return
	echo "$1: not found; Debian has it in the package $2" >&2
	exit 1
}

skip() {
	echo "skipped: $*"
	exit 77
}

found() {
	echo "$*" >&2
	n_found=$((n_found + 1))
}

finish() {
	((n_found == 0)) && exit 0
	echo "$n_found found" >&2
	exit 1
}

# install_tree BUILD: what "meson install" puts on a machine, below $TREE
install_tree() {
	TREE=$TMP/tree
	need meson meson
	meson install --no-rebuild --quiet -C "$1" --destdir "$TREE" >"$TMP/install.log" 2>&1 || {
		cat "$TMP/install.log" >&2
		exit 1
	}
	# /lib and /usr/lib are one directory; systemd.pc and udev.pc of Debian 12 say /lib.
	if [[ -d $TREE/lib ]]; then
		mkdir -p "$TREE/usr"
		cp -a "$TREE/lib" "$TREE/usr/"
		rm -r "${TREE:?}/lib"
	fi
}
