# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later

PYTHON := .venv/bin/python
# The tools of .venv find each other (ansible-lint calls ansible, and so on).
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Ansible refuses to start in a locale that is not UTF-8, such as that of a bare container.
export LC_ALL := C.UTF-8
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Extra words for pytest: make test T='-k loading -x'; T='-n0 --pdb' for one test after the other
T ?=
# As many tests at once as there are processors; tests of one group (xdist_group) one after the other.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit bench soak clean

help:  ## show this list
	@echo "userspace.livepatch: replaces functions in running processes. Each target sets up what it needs."
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-7s %s\n", $$1, $$2 }'

demo:  ## patch two running daemons, 64- and 32-bit, by playbook, and revert (1 minute)
	@tools/setup.sh demo
	@$(PYTHON) -m demo

test: setup-test  ## the gates of `make lint`, then every test but the soak (half an hour on two processors)
	@# a gate that fails does not keep the tests from running; either fails the target
	@gates=0; tools/lint.sh || gates=$$?; $(PYTHON) -m pytest $(SIDE_BY_SIDE) $(T) && exit $$gates

lint: setup-test  ## ruff, mypy, vermin, ansible-lint, ansible-test sanity, changelog and docs lint
	@tools/lint.sh

unit: setup-test  ## only the tests that start no process of their own (seconds)
	$(PYTHON) -m pytest tests/unit $(T)

bench:  ## measure the stop and the command; prints a table, writes bench/results/latest.json
	@tools/setup.sh test
	@$(PYTHON) bench/run.py

soak: setup-test  ## the long tests: a kill at every system call of the injector, and the like (hours)
	$(PYTHON) -m pytest tests/soak $(T)

clean:  ## remove what these targets made: build/, .venv and caches
	rm -rf build .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: setup-test
setup-test:
	@tools/setup.sh test
