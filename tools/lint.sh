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
# files: a symbolic link will not do, so it gets a copy of what git would commit.
ansible_test_sanity() {
    copy=build/sanity/ansible_collections/userspace/livepatch
    rm -rf build/sanity && mkdir -p "$copy" &&
        git ls-files -z --cached --others --exclude-standard -- . ':!bench' ':!demo' ':!tests/integration' |
        xargs -0 sh -c 'for file; do [ -e "$file" ] && printf "%s\0" "$file"; done' sh |
        tar --null --files-from=- -cf - | tar -xf - -C "$copy" || return
    # `import` and `compile` run for every Python on this machine; the others once.
    # --requirements would fetch them again for each test: .venv is what we test with.
    (cd "$copy" && ansible-test sanity --color no --test validate-modules --test action-plugin-docs \
        --test ansible-doc --test runtime-metadata --test no-get-exception --test replace-urlopen \
        --test use-argspec-type-path --test no-unwanted-files --test symlinks --test shebang --test line-endings)
}

gate ruff ruff check .
gate mypy mypy
gate vermin vermin --quiet --no-tips --backport typing --eval-annotations --target=3.8- --violations \
    plugins/module_utils plugins/modules
gate yamllint yamllint --strict .
gate ansible-lint ansible-lint --quiet
gate ansible-test ansible_test_sanity
gate changelog antsibull-changelog lint
gate docs antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck "$collection"

if [ -n "$failed" ]; then
    printf '\nFailed gates:%s\n' "$failed" >&2
    exit 1
fi
echo "All gates passed."
