# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A patch is resolved, placed, linked and loaded into a real process, runs there, and goes without a trace."""

from __future__ import annotations

import errno

import pytest

from livepatch.errors import Refused
from livepatch.loading import load
from livepatch.process import snapshot
from livepatch.tracee import memory_file
from tests.harness import toolchain, traces
from tests.loading import ID, LEDGER, Patch

SOURCE = """
extern int printf(const char *, ...), scale, rest(int);
extern int fflush(void *);
static int zeros[2000];
const char *const names[] = {"no", "yes"};
int called;
int work(int x) {
    if (scale < 0)
        printf("scale is %d %s\\n", scale, names[x & 1]);
    called += zeros[x & 7];
    return x * scale + 2 + fflush(0) + rest(x) - (x - scale) + zeros[x & 1];
}
"""
FLAGS = {
    "non_pie": ("-fno-pic",),
    "pie": ("-fPIE",),
    "static": ("-fno-pic",),
    "static_pie": ("-fPIE",),
    "library": ("-fPIC",),
}


@pytest.fixture
def patch_for(cpu, start, object_pair, tmp_path):
    """``patch_for(linkage, *arguments) -> (Program, Patch)``: a worker that runs, and its fix, not loaded yet."""

    def made(linkage, *arguments):
        pair = object_pair(linkage=linkage)
        source = tmp_path / "fix.c"
        source.write_text(SOURCE)
        flags = ("-c", "-g0", "-O2", "-fno-builtin", "-Wno-all", *FLAGS[linkage])
        fix = toolchain.gcc(source, flags=(toolchain.BITS[cpu.name], *flags))
        program = start(pair.program, *arguments)
        return program, Patch(program, cpu, fix, pair.target, ("work",))

    return made


@pytest.mark.parametrize("linkage", FLAGS)
def test_new_code_runs_in_the_process_and_leaves_no_trace(linkage, patch_for):
    program, patch = patch_for(linkage)
    assert program.ask("work 5") == "16"
    patch.load()
    old = patch.switch()
    assert program.ask("work 5") == "17"
    assert program.ask("work 6") == "20"
    patch.switch_back(old)
    assert program.ask("work 5") == "16"
    patch.unload()
    assert program.ask("work 5") == "16"
    traces.assert_clean(program.pid)


def test_two_mappings_none_of_them_writable_and_executable(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    found = {line.split()[0]: line.split() for line in traces.our_mappings(program.pid)}
    expected = {patch.data: "rw-p", patch.text: "r-xp"}
    assert {fields[0]: fields[1] for fields in found.values()} == {
        f"{address:0{len(next(iter(found)).split('-')[0])}x}-{address + size:x}": permissions
        for (address, size), permissions in expected.items()
    }
    assert all(f"/memfd:livepatch:{ID[:12]}" in fields[5] for fields in found.values())
    assert traces.our_descriptors(program.pid) == []


def test_the_ledger_is_at_the_start_of_the_data_and_zeros_are_zero(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    data = traces.read(program.pid, *patch.data)
    assert data[: len(LEDGER)] == LEDGER
    assert data[len(patch.content.data) :] == bytes(patch.data[1] - len(patch.content.data))
    assert traces.read(program.pid, *patch.text).rstrip(b"\0") == patch.linked.text.rstrip(b"\0")


def test_the_file_behind_the_code_can_not_be_changed(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    address, size = patch.text
    with pytest.raises(OSError) as refused, open(
        f"/proc/{program.pid}/map_files/{address:x}-{address + size:x}", "r+b", 0
    ) as file:
        file.write(b"\xcc")
    assert refused.value.errno in (errno.EPERM, errno.ETXTBSY)


def test_a_child_of_fork_has_variables_of_its_own(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    child = int(program.ask("child").split()[1])
    address = patch.data[0]
    patch.lender.memory.write(address, b"changed")
    assert traces.read(child, address, 7) == LEDGER[:7]
    assert traces.read(program.pid, address, 7) == b"changed"


def test_a_place_that_was_taken_meanwhile_is_refused_and_nothing_is_left(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    before = traces.our_mappings(program.pid)
    with pytest.raises(Refused) as refusal:
        patch.load()
    assert refusal.value.reason == "no_memory_in_reach"
    assert traces.our_mappings(program.pid) == before
    assert traces.our_descriptors(program.pid) == []


class Obstructed:
    """A hold that fails one of its calls as a security policy would."""

    def __init__(self, hold, fails):
        self._hold = hold
        self._fails = fails
        self.made = []

    def __getattr__(self, name):
        return getattr(self._hold, name)

    def call(self, name, *arguments):
        self.made.append((name, *arguments))
        error = self._fails(name, arguments)
        if error:
            raise OSError(error, "as the test wants it")
        return self._hold.call(name, *arguments)


def test_a_kernel_that_takes_the_address_as_a_hint_is_noticed(patch_for):
    program, patch = patch_for("pie")
    patch.load()
    before = traces.our_mappings(program.pid)

    class Older(Obstructed):
        """Before Linux 4.17, an unknown flag was ignored."""

        def call(self, name, *arguments):
            if name == "mmap":
                arguments = (*arguments[:3], arguments[3] & ~memory_file.MAP_FIXED_NOREPLACE, *arguments[4:])
            return super().call(name, *arguments)

    with pytest.raises(Refused) as refusal, patch.lender.hold(patch.pid, scratch=load.scratch(ID)) as hold:
        load.load(Older(hold, lambda *_: 0), patch.content, patch.data[0], patch.text[0])
    assert refusal.value.reason == "no_memory_in_reach"
    assert traces.our_mappings(program.pid) == before
    assert traces.our_descriptors(program.pid) == []


def obstructed_load(patch, fails):
    with patch.lender.hold(patch.pid, scratch=load.scratch(ID)) as hold:
        obstructed = Obstructed(hold, fails)
        load.load(obstructed, patch.content, patch.data[0], patch.text[0])
        return obstructed


def executable(arguments):
    return len(arguments) == 6 and arguments[2] & memory_file.PROT_EXEC


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EMFILE])
def test_without_memory_files_it_is_refused(patch_for, error):
    program, patch = patch_for("pie")
    with pytest.raises(Refused) as refusal:
        obstructed_load(patch, lambda name, arguments: error if name == "memfd_create" else 0)
    assert refusal.value.reason == "no_named_memory"
    traces.assert_clean(program.pid)


def test_an_older_kernel_does_not_know_the_noexec_flag(patch_for):
    program, patch = patch_for("pie")
    obstructed_load(
        patch,
        lambda name, arguments: (
            errno.EINVAL if name == "memfd_create" and arguments[1] & memory_file.MFD_NOEXEC_SEAL else 0
        ),
    )
    assert len(traces.our_mappings(program.pid)) == 2


def test_where_no_file_may_be_executed_the_code_is_anonymous(patch_for):
    program, patch = patch_for("pie")
    obstructed_load(
        patch,
        lambda name, arguments: (
            errno.EACCES if executable(arguments) and not arguments[3] & memory_file.MAP_ANONYMOUS else 0
        ),
    )
    assert len(traces.our_mappings(program.pid)) == 1
    assert traces.our_descriptors(program.pid) == []
    assert traces.writable_and_executable(program.pid) == []
    patch.switch()
    assert program.ask("work 5") == "17"
    with snapshot.take(program.pid) as seen:
        assert load.is_text(seen.mappings, patch.text)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_where_nothing_may_be_executed_it_is_refused_and_nothing_is_left(patch_for, error):
    program, patch = patch_for("pie")
    with pytest.raises(Refused) as refusal:
        obstructed_load(patch, lambda name, arguments: error if executable(arguments) else 0)
    assert refusal.value.reason == "no_executable_memory"
    traces.assert_clean(program.pid)
    assert program.ask("work 5") == "16"


@pytest.mark.parametrize("failing", range(4))
def test_whichever_call_fails_nothing_is_left(patch_for, failing):
    program, patch = patch_for("pie")
    seen = []

    def fails(name, arguments):
        seen.append(name)
        return errno.ENOMEM if len(seen) == failing + 1 else 0

    with pytest.raises(Refused):
        obstructed_load(patch, fails)
    traces.assert_clean(program.pid)


def test_what_an_interrupted_load_left_is_found_by_name_and_removed(patch_for):
    program, patch = patch_for("pie")

    class Died(BaseException):
        pass

    class Dying(Obstructed):
        def call(self, name, *arguments):
            if name == "close":
                raise Died
            if name == "munmap":
                return 0  # the dead undo nothing
            return super().call(name, *arguments)

    with pytest.raises(Died), patch.lender.hold(patch.pid, scratch=load.scratch(ID)) as hold:
        load.load(Dying(hold, lambda *_: 0), patch.content, patch.data[0], patch.text[0])
    with snapshot.take(program.pid) as seen:
        found = load.leftovers(seen)
        assert load.is_text(seen.mappings, patch.text)
        assert not load.is_text(seen.mappings, patch.data)
    assert load.bears_our_name(program.pid)
    assert found.data == [patch.data] and found.texts == [patch.text] and len(found.descriptors) == 1
    with patch.lender.hold(patch.pid, calls=load.CLEAN_CALLS) as hold:
        load.clean(hold, found)
    traces.assert_clean(program.pid)
    with snapshot.take(program.pid) as seen:
        assert not any(load.leftovers(seen))
        assert not load.is_text(seen.mappings, patch.text)
    assert not load.bears_our_name(program.pid)
