#!/bin/sh
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prepares this clone: Debian packages that are missing, a virtual environment, and a path under
# which Ansible finds the collection. Run again it finds everything there and takes a blink.
#
#   tools/setup.sh demo     what `make demo` and `make bench` need
#   tools/setup.sh test     what `make test` and `make soak` need, on top of that
#   tools/setup.sh python   the virtual environment alone: no Debian packages, no root

set -eu
cd "$(dirname "$0")/.."
purpose=${1:-test}

say() { printf '\033[2m[setup] %s\033[0m\n' "$*" >&2; }
fail() { printf '[setup] %s\n' "$*" >&2; exit 1; }

# ---- Debian packages ------------------------------------------------------------------------
# One line a purpose; the comment says what would fail without.
packages=''
case $purpose in
    python) ;;
    demo | test)
        packages="gcc gcc-multilib binutils libc6-dev-i386"  # targets and patches, 64- and 32-bit
        packages="$packages python3-venv"                    # ensurepip, for .venv
        ;;
    *) fail "usage: tools/setup.sh [demo|test|python]" ;;
esac
if [ "$purpose" = test ]; then
    packages="$packages g++"                         # C++ units, which the builder refuses
    packages="$packages clang"                       # targets, object pairs and patch files by the other compiler
    packages="$packages gdb"                         # the unwinder's oracle
    packages="$packages golang-go"                   # a static Go server, which must be refused
    packages="$packages openssh-client openssh-server sudo"  # playbooks over ssh, become
    packages="$packages dpkg-dev make patch xz-utils"  # expat, nginx, redis from Debian's source packages
    packages="$packages procps"
fi

missing=''
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || fail "Missing, and this machine has no apt-get; please install:$missing"
    [ "$(id -u)" = 0 ] || fail "Missing, and only root may install them. Please run: sudo apt-get install$missing"
    say "installing$missing"
    log=$(mktemp)
    # Another apt may be at work on a fresh machine: wait for its lock instead of failing.
    # shellcheck disable=SC2086  # a list of words
    if ! { apt-get -o DPkg::Lock::Timeout=300 -q update &&
           DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y \
               install --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install:$missing (its whole output: $log)"
    fi
    rm -f "$log"
fi

# ---- virtual environment --------------------------------------------------------------------
# The stamp holds the requirements that were installed: an edited file is installed again.
if ! cmp -s requirements-dev.txt .venv/installed-requirements.txt; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed here (managed hosts: 3.8); this is $(python3 --version)."
    say "making .venv and installing requirements-dev.txt (a minute or two)"
    [ -x .venv/bin/python ] || python3 -m venv .venv ||
        fail "python3 -m venv failed; on Debian the package is python3-venv."
    log=$(mktemp)
    if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            -r requirements-dev.txt >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "pip could not install requirements-dev.txt (its whole output: $log)"
    fi
    rm -f "$log"
    cp requirements-dev.txt .venv/installed-requirements.txt
fi

# ---- where Ansible looks for collections ------------------------------------------------------
# ansible.cfg names build/collections; below it this clone is userspace.livepatch.
home=build/collections/ansible_collections/userspace
mkdir -p "$home"
ln -sfn ../../../.. "$home/livepatch"
