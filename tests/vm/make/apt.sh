# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Sourced. Packages of a Debian suite, without touching what is installed: every apt call has a state, a cache and a
# dpkg status of its own in $APT_DIR, takes the mirror (and proxy) of this machine and checks with Debian's keyring.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror this machine itself uses for its own release; a machine that is no Debian gets the default.
apt_mirror() {
	local codename uri
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt expands these
	uri=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v s="$codename" '$1 == s && $2 == "main" { print $3; exit }')
	[[ $uri == */debian/ || $uri == */debian ]] || uri=http://deb.debian.org/debian
	echo "${uri%/}"
}

# apt_sources SUITE...: lines of a sources.list
apt_sources() {
	local mirror suite
	mirror=$(apt_mirror)
	for suite; do
		echo "deb [signed-by=$KEYRING] $mirror $suite main"
	done
}

# Proxy and clock settings of this machine, one apt.conf line each (mmdebstrap does not read the machine's own).
apt_acquire_settings() {
	apt-config dump | grep -E '^Acquire::([a-z]+::Proxy|Check-Valid-Until|Check-Date|Retries)' | grep -v ' "";$' || true
}

# apt_open DIR SUITE...
apt_open() {
	APT_DIR=$1
	shift
	mkdir -p "$APT_DIR"/{state/lists/partial,cache/archives/partial}
	: >"$APT_DIR/status"
	apt_sources "$@" >"$APT_DIR/sources.list"
	cat >"$APT_DIR/apt.conf" <<-CONF
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "false";
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Dir::State "$APT_DIR/state";
		Dir::State::status "$APT_DIR/status";
		Dir::Cache "$APT_DIR/cache";
		Dir::Etc::sourcelist "$APT_DIR/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
	CONF
	apt_private update -qq
}

apt_private() {
	local cmd=$1
	shift
	DEBIAN_FRONTEND=noninteractive apt-get -c "$APT_DIR/apt.conf" "$cmd" "$@"
}

# apt_closure SUITE PACKAGE...: NAME=VERSION of these and all they depend on
apt_closure() {
	local suite=$1
	shift
	apt_private install -s -t "$suite" "$@" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p'
}

# apt_unpack DIR < list of NAME=VERSION
apt_unpack() {
	local dest=$1 deb
	local -a names
	mapfile -t names
	((${#names[@]})) || { echo "nothing to unpack" >&2; return 1; }
	mkdir -p "$dest" "$APT_DIR/debs"
	(cd "$APT_DIR/debs" && apt_private download -qq "${names[@]}")
	for deb in "$APT_DIR"/debs/*.deb; do
		dpkg-deb -x "$deb" "$dest"
	done
	rm -r "$APT_DIR/debs"
}
