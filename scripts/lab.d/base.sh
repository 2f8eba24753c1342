#!/usr/bin/env bash
# base.sh SUITE DIR MIRROR: makes a base, the Debian tree that hosts lay their overlays over. Runs in
# mount and PID namespaces of its own, so that nothing stays mounted or running if it fails.
set -euo pipefail

suite=$1 dir=$2 mirror=$3
packages=(openssh-server openssh-client ca-certificates openssl libssl3t64 procps git xz-utils)
# The mirror may be a frozen copy: its Release files are then out of date without being wrong.
apt=(apt-get -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o Acquire::Retries=3)

script=/usr/share/debootstrap/scripts/$suite
[[ -e $script ]] || script=/usr/share/debootstrap/scripts/trixie
[[ -e $script ]] || script=/usr/share/debootstrap/scripts/sid
debootstrap --variant=minbase --include=ca-certificates "$suite" "$dir" "$mirror" "$script"

mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
cp /etc/resolv.conf "$dir/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d" # start no service in there
chmod 755 "$dir/usr/sbin/policy-rc.d"

export DEBIAN_FRONTEND=noninteractive
inside() { chroot "$dir" "$@"; }
install() { inside "${apt[@]}" install -y --no-install-recommends "$@"; }

# Nix without the packages it names as dependencies but does not link against (perl): unpacked, and
# the rest of its dependencies installed properly.
unpack_nix() {
    local -a wanted
    inside sh -c "cd /tmp && ${apt[*]} download nix-bin"
    mapfile -t wanted < <(
        dpkg-deb -f "$dir"/tmp/nix-bin_*.deb Depends |
            tr ',' '\n' | sed -E 's/\([^)]*\)//; s/\|.*//; s/[[:space:]]//g' | grep -vE 'perl|^$'
    )
    install "${wanted[@]}"
    dpkg-deb -x "$dir"/tmp/nix-bin_*.deb "$dir"
    rm "$dir"/tmp/nix-bin_*.deb
}

inside "${apt[@]}" update
install "${packages[@]}"
install nix-bin || unpack_nix

inside groupadd -r nixbld
for n in 1 2 3 4 5 6 7 8; do
    inside useradd -r -M -d /var/empty -s /usr/sbin/nologin -g nixbld -G nixbld "nixbld$n"
done
# '*' as password: not locked, as sshd refuses locked accounts, and no password fits.
for user in builder guest; do inside useradd -m -s /bin/bash -p '*' "$user"; done

NIX_CONFIG='build-users-group =' inside nix-store --init
inside nix --version

inside "${apt[@]}" clean
rm -rf "$dir"/etc/ssh/ssh_host_* "$dir"/var/lib/apt/lists/* "$dir"/var/cache/apt/*.bin "$dir"/usr/share/{doc,man,locale}
