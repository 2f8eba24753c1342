#!/usr/bin/env bash
# boot.sh HOSTDIR BASE [SHARED]: becomes process 1 of a host. Started by host.sh inside fresh mount,
# PID, UTS and IPC namespaces and the host's network namespace, so that everything made here ends
# with this process.
set -euo pipefail

dir=$1 base=$2 shared=${3:-}
root=$dir/root

mount -t overlay lab -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,size=1m dev "$root/dev"
for node in null zero full random urandom tty kvm; do
    [[ -e /dev/$node ]] || continue
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || true
if [[ -n $shared ]]; then
    mkdir -p "$root/shared"
    mount --bind "$shared" "$root/shared"
fi

cd "$root"
pivot_root . .
umount -l .
cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    /bin/bash /etc/lab/init
