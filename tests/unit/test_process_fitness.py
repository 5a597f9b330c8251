# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a process can not be patched: real ones where they can be made, facts made up where not."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from livepatch.kernel import kcmp, procfs, ptrace
from livepatch.process import coroutines, fitness, observations, snapshot
from livepatch.process.observations import Observations, Tracer
from tests.harness import toolchain

FIT = ("plain", "threads", "leader_exited", "given_stack")
ELSEWHERE = ("leader_on_heap", "thread_on_heap")
UNFIT = {
    "vfork": "vfork",
    "shares_memory": "shares_memory",
}


@pytest.fixture
def shape(compile, start):
    def started(name="plain", *flags):
        return start(compile("process_shapes.c", *flags), name)

    return started


@pytest.fixture
def seen(shape):
    """A snapshot of a process that nothing speaks against."""
    with snapshot.take(shape().pid) as taken:
        yield taken


def signs(pid: int) -> list[str]:
    with snapshot.take(pid) as taken:
        return list(coroutines.signs(taken))


def reasons(pid: int) -> list[str]:
    with snapshot.take(pid) as taken:
        return [refused.reason for refused in fitness.judge(taken, observations.observe(taken))]


@pytest.mark.parametrize("name", FIT)
def test_nothing_speaks_against_an_ordinary_process(cpu, shape, name) -> None:
    program = shape(name)
    assert reasons(program.pid) == []
    # where a thread's descriptor is only a 32-bit program may ask: its memory is searched without need
    assert bool(signs(program.pid)) == (name == "given_stack" and cpu.word == 4)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_thread_on_another_stack_than_its_own_is_a_sign(cpu, shape, name) -> None:
    program = shape(name)
    assert reasons(program.pid) == []
    assert "outside of its own stack" in signs(program.pid)[0]


@pytest.mark.parametrize("linkage", toolchain.EXECUTABLES)
def test_nothing_speaks_against_any_linkage(cpu, shape, linkage) -> None:
    assert reasons(shape("threads", *toolchain.EXECUTABLES[linkage]).pid) == []


@pytest.mark.parametrize("name", UNFIT)
def test_what_can_not_be_stopped_or_checked_is_refused_by_name(cpu, shape, name) -> None:
    program = shape(name)
    assert UNFIT[name] in reasons(program.pid)
    with snapshot.take(program.pid) as taken, pytest.raises(fitness.Refused):
        fitness.check(taken)


def test_nothing_speaks_against_a_stopped_process(cpu, shape) -> None:
    program = shape("threads")
    os.kill(program.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED)
    assert reasons(program.pid) == []


def test_a_traced_process_is_refused_and_the_tracer_named(cpu, shape) -> None:
    program = shape()
    ptrace.seize(program.pid, 0)
    with snapshot.take(program.pid) as taken:
        refused = next(fitness.judge(taken, observations.observe(taken)))
    assert refused.reason == "being_traced"
    assert f"process {os.getpid()} ({procfs.stat(os.getpid()).comm})" in refused.what


@pytest.mark.parametrize("sign", ["swapcontext", "jump_fcontext"])
def test_who_imports_a_switch_has_coroutines(cpu, compile, start, tmp_path, sign) -> None:
    """The library defines it, and that alone would not count; the program imports it."""
    library_source, source = tmp_path / "switch.c", tmp_path / "imports.c"
    library_source.write_text(f"int {sign}(void) {{ return 0; }}\n")
    source.write_text(f'#include "protocol.h"\nint {sign}(void);\n'
                      f"int main(void) {{ say(\"ready\"); hear(); return {sign}(); }}\n")
    library = compile(library_source, "-shared", "-fPIC", "-Wl,-soname,switch.so", name="switch.so")
    program = start(compile(source, "-fno-builtin", library))
    with snapshot.take(program.pid) as taken:
        found = list(coroutines.signs(taken))
        assert taken.coroutine_sign == found[0]
    assert found == [f"{program.path} imports {sign}"]


def test_a_static_program_with_a_switch_has_coroutines(cpu, compile, start, tmp_path) -> None:
    source = tmp_path / "contains.c"
    source.write_text('#include <ucontext.h>\n#include "protocol.h"\nstatic ucontext_t a, b;\n'
                      'int main(void) { say("ready"); hear(); return swapcontext(&a, &b); }\n')
    assert "is static and contains swapcontext" in signs(start(compile(source, "-static")).pid)[0]


def test_a_known_library_is_a_sign(cpu, compile, start) -> None:
    library = compile("elf_plain.c", "-shared", "-fPIC", "-Wl,-soname,libco.so", name="libco.so")
    program = start(compile("process_shapes.c", "-Wl,--no-as-needed", library))
    assert "libco" in signs(program.pid)[0]


def test_openssl_alone_is_no_sign() -> None:
    """libcrypto imports makecontext for engines that hardly anybody has; every TLS server maps it."""
    script = "import ssl, sys; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        with snapshot.take(child.pid) as taken:
            assert any(image.name.startswith("libcrypto.so") for image in taken.images)
            assert list(coroutines.signs(taken)) == []


def test_code_of_go_is_refused(start, tmp_path) -> None:
    source = tmp_path / "main.go"
    source.write_text('package main\nimport ("bufio"; "fmt"; "os")\n'
                      'func main() { fmt.Println("ready"); bufio.NewReader(os.Stdin).ReadString(10) }\n')
    program = start(toolchain.go(source, "fit"))
    with snapshot.take(program.pid) as taken:
        assert taken.coroutine_sign == f"{program.path} is written in Go"
        with pytest.raises(fitness.Refused, match="is written in Go") as refused:
            coroutines.check_target(taken.executable)
    assert refused.value.reason == "coroutines_unsupported"


def test_the_parameter_decides_whether_memory_is_searched(cpu, shape) -> None:
    """A GiB of address space that is only mapped counts less than one that was touched."""
    for name, auto in (("plain", None), ("leader_on_heap", "outside of its own stack")):
        with snapshot.take(shape(name).pid) as taken:
            why = {mode: coroutines.why_search(taken, mode) for mode in ("auto", "search", "ignore")}
            assert why["ignore"] is None and why["search"]
            assert (auto is None) == (why["auto"] is None) and (auto or "") in (why["auto"] or "")
            assert coroutines.obstacle(taken, "search", 50) is None
            assert "MiB" in coroutines.obstacle(taken, "search", 0.01)
            assert coroutines.obstacle(taken, "ignore", 0.01) is None
            words = fitness.unproven(taken, "search"), fitness.unproven(taken, "ignore")
            assert ["function_on_coroutine" in each for each in words] == [True, False]


def test_memory_that_is_shared_with_nobody_is_nobodys(cpu, shape) -> None:
    program = shape("threads")
    assert observations.sharing(program.pid, kcmp.same_address_space, procfs.pids()) == ()


def test_who_can_not_be_compared_is_left_out_but_not_for_everybody() -> None:
    def same(one: int, other: int) -> bool:
        if other == 5:
            raise PermissionError(1, "no")
        if other == 6:
            raise ProcessLookupError(3, "gone")
        return one == other or other == 9

    assert observations.sharing(4, same, [4, 5, 6, 7, 9]) == (9,)

    def never(one: int, other: int) -> bool:
        raise OSError(38, "no kcmp")

    with pytest.raises(OSError, match="kcmp"):
        observations.sharing(4, never, [4, 5])


MADE_UP = {
    "not_permitted": Observations(not_writable="Permission denied"),
    "shares_memory": Observations(sharers_unknown="kcmp(2): Function not implemented"),
    "being_traced": Observations(tracers={1: Tracer(77, "gdb", ("gdb", "-p", "1"))}),
    "in_use_by": Observations(tracers={1: Tracer(77, "python3", ("python3", "/x/livepatch-0123abcd.pyz", "apply"))}),
    "coroutines_unsupported": Observations(unsearchable="too large"),
}


@pytest.mark.parametrize("reason", MADE_UP)
def test_each_fact_has_its_reason(seen, reason) -> None:
    assert [refused.reason for refused in fitness.judge(seen, MADE_UP[reason])] == [reason]


@pytest.mark.parametrize(
    ("reason", "changes", "facts"),
    [
        ("shadow_stack", {"features": "shstk wrss"}, {}),
        ("uninterruptible", {"state": "D"}, {"uninterruptible": True}),
        ("vfork", {"state": "D"}, {"vforking": True}),
    ],
)
def test_each_state_of_a_thread_has_its_reason(seen, reason, changes, facts) -> None:
    thread = dataclasses.replace(seen.threads[0], **changes)
    taken = dataclasses.replace(seen, threads=(thread,))
    observed = Observations(**dict.fromkeys(facts, (thread.tid,)))
    assert [refused.reason for refused in fitness.judge(taken, observed)] == [reason]


def test_no_thread_and_no_program_are_refused(seen) -> None:
    ended = dataclasses.replace(seen, threads=())
    assert [refused.reason for refused in fitness.judge(ended, Observations())] == ["exiting"]
    nothing = dataclasses.replace(seen, images=())
    assert [refused.reason for refused in fitness.judge(nothing, Observations())] == ["wrong_architecture"]


def test_x32_is_refused_by_name(compile, start) -> None:
    with snapshot.take(start(compile("process_shapes.c", "-m32")).pid) as taken:
        taken.executable.loaded.machine = 62  # EM_X86_64 with ELFCLASS32
        assert [refused.reason for refused in fitness.judge(taken, Observations())] == ["x32"]


@pytest.mark.parametrize(
    ("cmdline", "ours"),
    [
        (("python3", "/var/cache/livepatch-0123456789abcdef.pyz", "apply"), True),
        (("/usr/bin/python3.11", "-I", "/var/cache/livepatch/0123/livepatch/__main__.py"), True),
        (("python3", "-m", "livepatch", "apply"), True),
        (("bin/livepatch", "apply"), True),
        (("gdb", "-p", "12"), False),
        (("gdb", "/usr/bin/livepatch"), False),
        (("strace", "-f", "python3", "livepatch.pyz"), False),
        (("python3", "debugger.py", "livepatch"), False),
        ((), False),
    ],
)
def test_another_injector_is_known_by_its_program(cmdline, ours) -> None:
    assert fitness.is_ours(Tracer(1, "name", cmdline)) is ours


def test_what_only_a_stop_can_show_is_not_promised(seen) -> None:
    assert "busy" in fitness.unproven(seen)
    assert "seccomp" not in fitness.unproven(seen)
    thread = dataclasses.replace(seen.threads[0], seccomp=2, seccomp_filters=1)
    filtered = dataclasses.replace(seen, threads=(thread,))
    assert filtered.seccomp == 2 and "seccomp" in fitness.unproven(filtered)
