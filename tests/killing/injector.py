# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the host program under our eyes: counted, and killed at the call that was chosen.

The program runs in a fork of this process, which has imported the rooms already: what comes before the first
PTRACE_SEIZE is not under test, and Python's start would be the most of each of some thousand runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from livepatch.__main__ import main
from livepatch.cpu import X86_64 as CPU  # the injector's own; the target's does not matter here
from livepatch.kernel import ptrace
from tests.harness import product

from . import bpf

# <linux/ptrace.h>, what livepatch.kernel.ptrace has no use for
_O_EXITKILL = 1 << 20
_O_SECCOMP = 1 << 7
_O_FORKS = 1 << 1 | 1 << 2 | 1 << 3  # TRACEFORK, TRACEVFORK, TRACECLONE
_EVENT_SECCOMP = 7
_SIGTRAP_SYSCALL = signal.SIGTRAP | 0x80

# Requests that only look (the "GET*").
_LOOKS = {
    1: "PEEKTEXT", 2: "PEEKDATA", 3: "PEEKUSER", 12: "GETREGS", 14: "GETFPREGS", 18: "GETFPXREGS",
    25: "GET_THREAD_AREA", 0x4201: "GETEVENTMSG", 0x4202: "GETSIGINFO", 0x4204: "GETREGSET",
    0x420A: "GETSIGMASK", 0x420C: "SECCOMP_GET_FILTER", 0x420D: "SECCOMP_GET_METADATA",
    0x420E: "GET_SYSCALL_INFO", 0x420F: "GET_RSEQ_CONFIGURATION",
}  # fmt: skip
_CHANGES = {
    4: "POKETEXT", 5: "POKEDATA", 6: "POKEUSER", 7: "CONT", 9: "SINGLESTEP", 13: "SETREGS", 15: "SETFPREGS",
    16: "ATTACH", 17: "DETACH", 24: "SYSCALL", 0x4200: "SETOPTIONS", 0x4205: "SETREGSET", 0x4206: "SEIZE",
    0x4207: "INTERRUPT", 0x4208: "LISTEN", 0x420B: "SETSIGMASK",
}  # fmt: skip

# Calls that write where the first argument leads; they matter where that is the target.
_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate", "sendfile")
_OF_THE_TARGET = re.compile(r"/proc/\d+/(task/\d+/)?mem|/memfd:")

_NUMBERS = {name: CPU.syscall_number(name) for name in ("ptrace", "process_vm_writev", *_WRITES)}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_FILTER = bpf.program(_NUMBERS.values())

DEADLINE = 60  # seconds for one run; an injector that takes longer hangs


@dataclass(frozen=True)
class Shot:
    """Where the injector dies.

    :ivar number: at the N-th counted call, from 1; counted are the calls that change the process, or with
        ``every`` all calls from the first of those on, which is a PTRACE_SEIZE
    :ivar after: when the call is done, instead of before it begins
    :ivar deed: what is done to its PID there instead of killing it; then it goes on
    """

    number: int
    after: bool = False
    every: bool = False
    deed: Callable[[int], object] | None = None


@dataclass
class Run:
    """What became of one run."""

    calls: list[str] = field(default_factory=list)  # the counted calls, by name, the last one where it died
    killed: bool = False
    hit: bool = False  # the shot's deed was done
    code: int = 0
    output: bytes = b""

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report of a run that was let live."""
        assert not self.killed
        try:
            return json.loads(self.output)
        except ValueError:
            raise AssertionError(f"exit {self.code}: {self.output.decode(errors='replace')}") from None


# The number of a counted call, from 1, and what is done while the injector stands before it.
Meanwhile = tuple[int, Callable[[], object]]


def operator(
    arguments: Sequence[object], shot: Shot | None = None, meanwhile: Meanwhile | None = None
) -> Run:
    """As :func:`run`, by a program of its own: to another livepatch it is one."""
    line = product.command(*arguments)
    return watch(lambda: os.execve(line[0], line, product.environment()), shot, meanwhile)


def run(arguments: Sequence[object], shot: Shot | None = None) -> Run:
    """Run ``livepatch ARGUMENTS``, and kill it where the shot says (with None: only count).

    When this returns the injector is dead and reaped, and with that the kernel has let go of all it traced.
    """
    words = [str(word) for word in arguments]
    return watch(lambda: main(words), shot)


def watch(body: Callable[[], int], shot: Shot | None = None, meanwhile: Meanwhile | None = None) -> Run:
    """Run anything in a fork, as :func:`run` does with the host program.

    :param body: returns the exit code
    :param meanwhile: a counted call, and what happens before it begins
    """
    with tempfile.TemporaryFile() as output:
        go, started = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(started)
            _be_the_injector(body, output, go)
        os.close(go)
        os.setpgid(pid, pid)
        with _deadline(pid):
            ptrace.seize(pid, ptrace.O_SYSGOOD | _O_EXITKILL | _O_SECCOMP | _O_FORKS)
            os.close(started)  # it waits for the end of this pipe
            found = _Watch(pid, shot, meanwhile).follow()
        output.seek(0)
        found.output = output.read()
    return found


def _be_the_injector(body: Callable[[], int], output: BinaryIO, go: int) -> None:
    """In the fork: run the body and exit; does not return."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115
        bpf.install(_FILTER)
        os.read(go, 1)
        code = body()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


@contextlib.contextmanager
def _deadline(pid: int) -> Iterator[None]:
    """Kill the injector after ``DEADLINE`` seconds and fail."""

    def late(number: int, frame: object) -> None:
        os.killpg(pid, signal.SIGKILL)
        raise AssertionError(f"the injector ran for more than {DEADLINE} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(DEADLINE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class _Watch:
    """Follows one injector, and whatever it starts, through its stops."""

    def __init__(self, pid: int, shot: Shot | None, meanwhile: Meanwhile | None) -> None:
        self.pid = pid  # also the process group, so that waiting never reaps anybody else's children
        self.shot = shot
        self.meanwhile = meanwhile
        self.run = Run()
        self.counting = False  # since the first call that changes the target, commonly PTRACE_SEIZE
        self.shoot_at_exit = False
        self.inside: set[int] = set()  # threads between the entry and the exit of a system call

    def follow(self) -> Run:
        """Until nobody is left."""
        while True:
            try:
                tid, status = os.waitpid(-self.pid, ptrace.WALL)
            except ChildProcessError:
                return self.run
            if not os.WIFSTOPPED(status):
                if tid == self.pid:
                    self.run.code = os.waitstatus_to_exitcode(status)
                continue
            # A thread that was killed meanwhile can not be resumed, and need not.
            with contextlib.suppress(ProcessLookupError):
                self._stopped(tid, os.WSTOPSIG(status), status >> 16)

    @property
    def every(self) -> bool:
        """Whether each system call stops the injector by now, and not only those of the filter."""
        return self.counting and self.shot is not None and self.shot.every

    def _stopped(self, tid: int, number: int, event: int) -> None:
        delivered = 0
        if event == _EVENT_SECCOMP:
            if not self.every:  # else it was counted at its entry, which comes first (since Linux 4.8)
                self._counted(self._change(tid))
            self.inside.add(tid)
        elif number == _SIGTRAP_SYSCALL:
            if self.shoot_at_exit:
                self.inside.discard(tid)
                self._shoot()
            elif tid in self.inside:
                self.inside.remove(tid)
            else:
                self.inside.add(tid)
                registers = CPU.registers.unpack(ptrace.get_registers(tid))
                self._counted(CPU.syscall_name(registers[CPU.syscall]))
        elif not event:
            delivered = number
        if self.every or self.shoot_at_exit:
            ptrace.resume_to_syscall(tid, delivered)
        else:
            self.inside.discard(tid)
            ptrace.resume(tid, delivered)

    def _change(self, tid: int) -> str | None:
        """The call at whose entry this thread stands, if it changes the target."""
        registers = CPU.registers.unpack(ptrace.get_registers(tid))
        name = _NAMES[registers[CPU.syscall]]
        first = registers[CPU.arguments[0]]
        if name == "ptrace":
            return None if first in _LOOKS else f"ptrace({_CHANGES.get(first, hex(first))})"
        if name in _WRITES:
            try:
                link = os.readlink(f"/proc/{tid}/fd/{first & 0xFFFFFFFF}")
            except OSError:
                return None
            return f"{name}({link})" if _OF_THE_TARGET.match(link) else None
        return name

    def _counted(self, name: str | None) -> None:
        """One more call, if it is one that counts; the end of the injector, if it is the chosen one."""
        if name is None:
            return
        self.counting = True
        self.run.calls.append(name)
        if self.meanwhile is not None and self.meanwhile[0] == len(self.run.calls):
            self.meanwhile[1]()
        if self.shot is not None and self.shot.number == len(self.run.calls):
            if self.shot.after:
                self.shoot_at_exit = True
            else:
                self._shoot()  # at the entry of a call: the kernel does not begin it any more

    def _shoot(self) -> None:
        assert self.shot is not None
        if self.shot.deed is not None:
            self.shoot_at_exit = False
            self.run.hit = True
            self.shot.deed(self.pid)
            return
        self.run.killed = True
        os.killpg(self.pid, signal.SIGKILL)
