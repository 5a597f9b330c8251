# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are meant, and what became of those that are not patched."""

from __future__ import annotations

import os
import pwd
import time

import pytest

from livepatch.elf.file import ElfFile
from livepatch.errors import UsageError
from livepatch.kernel import procfs
from livepatch.process.targets import Identity, Verdict, find

# These look for their programs on the whole host, and would find each other's.
pytestmark = pytest.mark.xdist_group("targets")


def identity_of(path) -> Identity:
    file = ElfFile(path.read_bytes())
    return Identity(file.build_id(), file.text_sha256(), path.name)


@pytest.fixture
def program(compile, start):
    return start(compile("process_shapes.c", name="findable"), "plain", "needle-in-cmdline")


def pids(found) -> list[int]:
    return [each.pid for each in found if each.verdict is Verdict.MATCH]


def test_an_empty_selection_means_whoever_maps_the_target(cpu, program, compile, start) -> None:
    other = start(program.path, "plain")
    found = find({}, identity_of(program.path))
    assert pids(found) == sorted([program.pid, other.pid])
    assert [each.start_time for each in found if each.pid == program.pid] == [procfs.stat(program.pid).start_time]


def test_a_library_is_a_target_like_a_program(cpu, compile, start) -> None:
    library = compile("elf_plain.c", "-shared", "-fPIC", "-Wl,-soname,libplain.so", name="libplain.so")
    user = start(compile("process_shapes.c", "-Wl,--no-as-needed", library))
    assert pids(find({}, identity_of(library))) == [user.pid]


def test_a_program_without_build_id_is_found_by_its_text(cpu, compile, start) -> None:
    path = compile("process_shapes.c", "-Wl,--build-id=none", name="nameless")
    user = start(path)
    identity = identity_of(path)
    assert identity.build_id is None
    assert pids(find({}, identity)) == [user.pid]
    assert pids(find({}, identity._replace(text_sha256="0" * 64))) == []


def test_who_only_reads_the_target_does_not_map_it(cpu, compile, start) -> None:
    library = compile("elf_plain.c", "-shared", "-fPIC")
    reader = start(compile("process_shapes.c"), "maps_file", library)
    assert pids(find({}, identity_of(library))) == []
    (found,) = find({"pid": reader.pid}, identity_of(library))
    assert found.verdict is Verdict.NO_MATCH


@pytest.mark.parametrize(
    "keys",
    [
        lambda program: {"pid": program.pid},
        lambda program: {"pid": [program.pid]},
        lambda program: {"pid": str(program.pid)},
        lambda program: {"exe": str(program.path)},
        lambda program: {"exe": str(program.path.parent.parent / "*" / "findable")},
        lambda program: {"name": "findable"},
        lambda program: {"cmdline": r"\bneedle-in-\w+"},
        lambda program: {"user": pwd.getpwuid(os.geteuid()).pw_name},
        lambda program: {"user": str(os.geteuid())},
        lambda program: {"cgroup": procfs.cgroup(program.pid) or "/"},
        lambda program: {"hostname": os.uname().nodename},
        lambda program: {"name": "findable", "cmdline": "needle", "user": os.geteuid()},
    ],
)
def test_every_key_finds_its_process(cpu, program, keys) -> None:
    selected = find(keys(program), identity_of(program.path))
    assert program.pid in pids(selected)
    assert program.pid in pids(find(keys(program)))  # the same without a target


@pytest.mark.parametrize(
    "keys",
    [
        {"exe": "/usr/bin/nobody-has-this"},
        {"name": "findabl"},
        {"cmdline": "^needle-in-cmdline"},
        {"user": "nobody-has-this-name"},
        {"unit": "nobody-has-this.service"},
        {"cgroup": "/nobody-has-this"},
        {"container": "0123456789ab"},
        {"hostname": "nobody-has-this"},
        {"name": "findable", "cmdline": "other"},
    ],
)
def test_a_key_that_does_not_hold_finds_nobody(cpu, program, keys) -> None:
    assert pids(find(keys, identity_of(program.path))) == []


def test_another_build_of_the_target_is_named(cpu, compile, start) -> None:
    running = start(compile("process_shapes.c", name="daemon"), "plain")
    identity = identity_of(compile("process_shapes.c", "-O1", name="daemon"))
    (found,) = find({"pid": running.pid}, identity)
    assert (found.verdict, found.error.reason) == (Verdict.NO_MATCH, "build_id_mismatch")
    assert identity.build_id in found.error.what and identity_of(running.path).build_id in found.error.what
    assert pids(find({}, identity)) == []


def test_a_selected_process_without_the_target_is_told(cpu, program, compile) -> None:
    (found,) = find({"pid": program.pid}, identity_of(compile("elf_plain.c")))
    assert (found.verdict, found.error.reason) == (Verdict.NO_MATCH, "target_not_mapped")


def test_a_pid_that_nobody_has_is_gone(cpu, program) -> None:
    program.may_exit = True
    program.kill()
    (found,) = find({"pid": program.pid}, identity_of(program.path))
    assert (found.verdict, found.error) == (Verdict.GONE, None)


def test_a_kernel_thread_is_named(program) -> None:
    kernel_thread = next(pid for pid in procfs.pids() if procfs.stat(pid).flags & 0x00200000)
    (found,) = find({"pid": kernel_thread}, identity_of(program.path))
    assert (found.verdict, found.error.reason) == (Verdict.UNSEEN, "kernel_thread")


def test_a_uts_namespace_is_asked_for_its_name(compile, start) -> None:
    inner = start("unshare", "--uts", "sh", "-c", f"hostname a-pod && exec {compile('process_shapes.c')}")
    assert pids(find({"hostname": "a-pod"})) == [inner.pid]
    assert os.uname().nodename != "a-pod"


@pytest.mark.parametrize(
    "keys",
    [
        {"pidd": 1},
        {"pid": 0},
        {"pid": "1a"},
        {"pid": True},
        {"pid": []},
        {"pid": {"1": 2}},
        {"pid": os.getpid()},
        {"exe": "nginx"},
        {"exe": ["/usr/bin/nginx"]},
        {"name": ""},
        {"cmdline": "("},
        {"user": 1.5},
        {"unit": True},
    ],
)
def test_what_can_not_be_meant_is_a_usage_error(keys) -> None:
    with pytest.raises(UsageError):
        find(keys)


def test_hundreds_of_processes_are_looked_through_in_a_moment(compile, start) -> None:
    """A file that many processes map is asked once."""
    path = compile("process_shapes.c", "-O1", name="many")
    started = [start(path, "plain") for _ in range(60)]
    begin = time.process_time()
    found = find({}, identity_of(path))
    took = time.process_time() - begin  # of ours and of the kernel for us; waiting for others does not count
    assert pids(found) == sorted(each.pid for each in started)
    assert took < 0.5  # 50 ms on an idle machine
