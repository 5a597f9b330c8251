#!/bin/sh
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The gates that need no running process. Every gate runs, then the failed ones are named.

set -u
cd "$(dirname "$0")/.."
collection=$PWD/build/collections/ansible_collections/userspace/livepatch
failed=''

gate() {
    name=$1
    shift
    printf '\033[1m%s\033[0m\n' "$name"
    "$@" || failed="$failed $name"
}

# ansible-test looks at its own path to learn which collection it is in, and at git to learn which
# files: a symbolic link below an ignored folder will not do, so it gets a copy of what git would
# commit. These are its tests that need no environment of their own.
ansible_test_sanity() {
    home=$(mktemp -d) || return
    copy=$home/ansible_collections/userspace/livepatch
    mkdir -p "$copy" && git ls-files -z --cached --others --exclude-standard -- plugins meta galaxy.yml |
        xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
        tar --null --files-from=- -cf - | tar -xf - -C "$copy" &&
        (cd "$copy" && ansible-test sanity --color no --test action-plugin-docs --test empty-init --test line-endings \
            --test no-get-exception --test replace-urlopen --test shebang --test symlinks \
            --test use-argspec-type-path) >"$home/output" 2>&1
    result=$?
    [ $result = 0 ] || cat "$home/output"
    rm -rf "$home"
    return $result
}

# This one wants an environment that it downloads; called by itself it takes .venv.
validate_modules() {
    program=$(python -c 'import ansible_test; print(ansible_test.__path__[0])')/_util/controller/sanity/validate-modules
    # tests/sanity/ignore-*.txt says why _push is undocumented
    ! PYTHONPATH=$program ANSIBLE_COLLECTIONS_PATH=$PWD/build/collections python "$program/validate.py" --arg-spec \
        --collection ansible_collections/userspace/livepatch --collection-version 0.1.0 plugins/modules 2>&1 |
        grep -v "undocumented-parameter Argument '_push'"
}

gate ruff ruff check --output-format concise .
gate mypy mypy
gate vermin vermin --quiet --no-tips --backport typing --target=3.8- --violations \
    plugins/module_utils plugins/modules
gate yamllint yamllint --strict .
gate ansible-lint ansible-lint -q
gate ansible-test ansible_test_sanity
gate validate-modules validate_modules
gate changelog antsibull-changelog lint
gate docs antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck "$collection"

if [ -n "$failed" ]; then
    printf '\nFailed gates:%s\n' "$failed" >&2
    exit 1
fi
echo "All gates passed."
