# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where instructions are borrowed, and where never."""

from __future__ import annotations

import pytest

from livepatch.errors import Refused
from livepatch.kernel.procfs import Mapping
from livepatch.tracee import gadgets

EXE = "/usr/sbin/daemon"


def code_of(cpu):
    """(a system call and its return, a call of rt_sigreturn)"""
    return cpu.syscall_gadgets[0][0], cpu.sigreturn_gadgets[0]


def mapping(path, start=0x1000, size=0x1000, permissions="r-xp"):
    return Mapping(start, start + size, permissions, 0, "08:01", 7, path)


def test_both_are_found_wherever_they_stand(cpu):
    call, sigreturn = code_of(cpu)
    found = gadgets.search(cpu, [(0x1000, b"\x90" * 7 + sigreturn), (0x9000, b"\x90" * 3 + call)])
    assert found == gadgets.Gadgets(0x9003, 0, 0x1007, 0x1007 + len(sigreturn))
    assert found.behind_syscall == 0x9005


def test_words_that_are_popped_are_known(cpu):
    for call, popped in cpu.syscall_gadgets:
        found = gadgets.search(cpu, [(0, call + b"\x90" + code_of(cpu)[1])])
        assert found.popped == popped


def test_what_crosses_from_one_chunk_into_the_next_is_found(cpu):
    call, sigreturn = code_of(cpu)
    code = b"\x90" * 5 + sigreturn + b"\x90" * 5 + call + b"\x90"
    for cut in range(len(code)):
        found = gadgets.search(cpu, [(0x1000, code[:cut]), (0x1000 + cut, code[cut:])])
        assert found.sigreturn == 0x1005
        assert found.syscall == 0x1000 + code.index(call)


def test_chunks_that_are_not_neighbours_are_not_joined(cpu):
    call, sigreturn = code_of(cpu)
    with pytest.raises(Refused):
        gadgets.search(cpu, [(0x1000, sigreturn + call[:1]), (0x5000, call[1:])])


@pytest.mark.parametrize("missing", [0, 1])
def test_half_of_it_is_refused(cpu, missing):
    with pytest.raises(Refused) as refusal:
        gadgets.search(cpu, [(0x1000, code_of(cpu)[1 - missing])])
    assert refusal.value.reason == "no_gadget"
    assert ("rt_sigreturn" if missing else "system call") in str(refusal.value)


def test_regions_behind_the_last_one_needed_are_not_read(cpu):
    def regions():
        yield 0x1000, b"".join(code_of(cpu))
        raise AssertionError("read on")

    gadgets.search(cpu, regions())


@pytest.mark.parametrize(
    "path",
    [
        EXE,
        "[vdso]",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/libc-2.28.so (deleted)",
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-2.28.so",
        "/lib/ld-linux.so.2",
        "/lib/ld-musl-x86_64.so.1",
        "/lib/libc.musl-x86_64.so.1",
        "/usr/lib/libpthread-2.28.so",
    ],
)
def test_code_that_stays_is_searched(path):
    assert gadgets.lasting([mapping(path)], EXE)


@pytest.mark.parametrize(
    "path", ["[vsyscall]", "", "/usr/lib/libcrypto.so.3", "/usr/lib/mod_x.so", "libc.so.6"]
)
def test_code_that_may_go_is_not(path):
    assert not gadgets.lasting([mapping(path)], EXE)


@pytest.mark.parametrize("permissions", ["r--p", "--xp", "rwxp"])
def test_only_readable_code_that_nobody_writes_is_searched(permissions):
    assert not gadgets.lasting([mapping("[vdso]", permissions=permissions)], EXE)


def test_small_mappings_come_first_and_the_vdso_before_all():
    paths = [EXE, "/lib/libc.so.6", "[vdso]"]
    mappings = [mapping(path, size=size) for path, size in zip(paths, (0x3000, 0x2000, 0x4000))]
    assert [found.path for found in gadgets.lasting(mappings, EXE)] == ["[vdso]", "/lib/libc.so.6", EXE]


def test_a_gadget_that_has_changed_meanwhile_is_noticed(cpu):
    memory = bytearray(b"".join(code_of(cpu)))
    found = gadgets.search(cpu, [(0, bytes(memory))])

    def read(address, size):
        return bytes(memory[address : address + size])

    assert gadgets.intact(cpu, found, read)
    memory[found.sigreturn] = 0xCC
    assert not gadgets.intact(cpu, found, read)
