#!/usr/bin/env bash
# Runs the test suite on the CPython 3.14 of Debian's forky, where the own system has none: in a
# root file system that debootstrap makes once in .python-3.14 (500 MB). Linux, as root.
# Arguments are pytest's.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/.python-3.14
packages=python3.14,python3.14-venv,python3.14-dev,gcc,libc6-dev,ca-certificates,procps

if [ ! -e "$root/opt/complete" ]; then
    rm -rf "$root"
    # From the default mirror. Older versions have no script for forky; that of sid fits.
    debootstrap --variant=minbase "--include=$packages" forky "$root" "" sid
    chroot "$root" python3.14 -m venv /opt/venv
    touch "$root/opt/complete"
fi
cp /etc/resolv.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # with those of this machine
rm -rf "$root/opt/ipcpipes"
mkdir "$root/opt/ipcpipes"
git ls-files -z | tar --null --files-from=- --create | tar --extract --directory="$root/opt/ipcpipes"

# A mount namespace of its own: the mounts end with it.
unshare --mount bash -euo pipefail -s -- "$root" "$@" <<'INSIDE'
root=$1
shift
for folder in /proc /dev /dev/pts /dev/shm; do mount --bind "$folder" "$root$folder"; done
chroot "$root" bash -euo pipefail -c '
    cd /opt/ipcpipes
    /opt/venv/bin/pip install --quiet ".[test]"
    /opt/venv/bin/python -m pytest -n 2 "$@"' pytest "$@" </dev/null
INSIDE
