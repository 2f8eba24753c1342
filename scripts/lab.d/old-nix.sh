#!/usr/bin/env bash
# old-nix.sh SUITE DIR MIRROR: makes the tree that turns a host into one with the last Nix that is too old
# for drvdispatch: 2.3 of Debian 11, with those of its libraries that later suites do not have. It is laid
# over a base of another suite, for a whole base would take a minute more. SUITE is not used.
set -euo pipefail

dir=$2 mirror=$3
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/{lists,archives}/partial "$dir"
echo "deb [signed-by=$keyring] $mirror bullseye main" >"$work/sources.list"

# This machine's own lists and sources are neither read nor changed.
apt=(apt-get -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o Dir::State::Status=/dev/null -o "Dir::Cache=$work"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o Acquire::Retries=3)
cd "$work"
"${apt[@]}" update
"${apt[@]}" download nix-bin libssl1.1 libboost-context1.74.0 libsodium23
for package in *.deb; do dpkg-deb -x "$package" "$dir"; done
rm -rf "$dir"/usr/share/{doc,man,lintian}
