# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which processes the user means: keys that must all hold, cheap ones first.

==============  =====================================================================================
``pid``         a number or a list of them
``exe``         path of the program, or a glob of it; as the process's mount namespace has it
``name``        name of the program's file, or of the process (comm: its first 15 bytes)
``cmdline``     regular expression, found anywhere in the arguments joined by spaces
``user``        effective user, name or number; a name that this host does not know selects nobody
``unit``        systemd unit; ".service" may be left out
``cgroup``      path of a cgroup: the process is in it or below it
``container``   beginning of its container's id, or an LXC container's name
``hostname``    host name in its UTS namespace: a pod's name
==============  =====================================================================================
"""

from __future__ import annotations

import fnmatch
import posixpath
import pwd
import re
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

from ..errors import UsageError
from ..kernel import namespaces, procfs
from . import cgroups
from .mapped_file import without_deleted
from .snapshot import effective_uid, hostname_of

SELECTION_KEYS = ("pid", "exe", "name", "cmdline", "user", "unit", "cgroup", "container", "hostname")

_COMM = 15  # bytes of a process's name (TASK_COMM_LEN)

Test = Callable[[int, int], bool]  # (pid, task whose /proc directory shows the memory)


class Selection:
    """A checked selection.

    :ivar pids: those asked for by number; None: no such key
    :ivar empty: no key at all
    :raises UsageError: an unknown key, or a value that can not be meant
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        given = {key: value for key, value in keys.items() if value is not None}
        for key in given:
            if key not in SELECTION_KEYS:
                raise UsageError(f"unknown key {key!r} in processes; there are: {', '.join(SELECTION_KEYS)}")
        self.empty = not given
        self.pids: Optional[FrozenSet[int]] = _pids(given["pid"]) if "pid" in given else None
        makers: Dict[str, Callable[[str], Test]] = {
            "name": _name, "user": _user, "unit": _unit, "cgroup": _cgroup,
            "container": _container, "exe": _exe, "cmdline": _cmdline, "hostname": _hostname,
        }  # fmt: skip
        self._tests: List[Test] = []
        for key, maker in makers.items():
            if key in given:
                value = given[key]
                if isinstance(value, int) and not isinstance(value, bool) and key == "user":
                    value = str(value)
                if not isinstance(value, str) or not value:
                    raise UsageError(f"processes: {key} must be a text, not {value!r}")
                self._tests.append(maker(value))

    def candidates(self) -> Tuple[int, ...]:
        """The PIDs to look at: those asked for, else all."""
        return tuple(procfs.pids() if self.pids is None else sorted(self.pids))

    def matches(self, pid: int, task: int) -> bool:
        """Whether a process is meant.

        :raises ProcessLookupError: it is gone
        :raises PermissionError: what a key asks for may not be seen
        """
        if self.pids is not None and pid not in self.pids:
            return False
        return all(test(pid, task) for test in self._tests)


def _pids(value: Any) -> FrozenSet[int]:
    values = value if isinstance(value, (list, tuple)) else [value]
    numbers = set()
    for each in values:
        # templates of playbooks give texts
        number = int(each) if isinstance(each, str) and each.isdecimal() else each
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise UsageError(f"processes: pid must be a number above 0 or a list of them, not {each!r}")
        numbers.add(number)
    if not numbers:
        raise UsageError("processes: pid is an empty list")
    return frozenset(numbers)


def _name(value: str) -> Test:
    short = value.encode("utf-8", "surrogateescape")[:_COMM]

    def test(pid: int, task: int) -> bool:
        if procfs.stat(pid).comm.encode("utf-8", "surrogateescape") == short:
            return True
        try:
            return posixpath.basename(_exe_of(task)) == value
        except PermissionError:
            return False  # its name is another; most processes of other users end here

    return test


def _user(value: str) -> Test:
    uid = int(value) if value.isdecimal() else None
    if uid is None:
        try:
            uid = pwd.getpwnam(value).pw_uid
        except (KeyError, ValueError):  # no such user; no name at all
            return lambda pid, task: False
    return lambda pid, task: effective_uid(task) == uid


def _unit(value: str) -> Test:
    wanted = {value, value + ".service"}
    return lambda pid, task: not wanted.isdisjoint(cgroups.units(procfs.cgroup(task)))


def _cgroup(value: str) -> Test:
    inside = value.rstrip("/") + "/"
    return lambda pid, task: (procfs.cgroup(task) + "/").startswith(inside)


def _container(value: str) -> Test:
    def test(pid: int, task: int) -> bool:
        container = cgroups.container(procfs.cgroup(task))
        return container is not None and container.startswith(value)

    return test


def _exe(value: str) -> Test:
    if not value.startswith("/"):
        raise UsageError(f"processes: exe must be an absolute path or a glob of one, not {value!r}")
    pattern = re.compile(fnmatch.translate(value))
    return lambda pid, task: _exe_of(task) == value or pattern.match(_exe_of(task)) is not None


def _cmdline(value: str) -> Test:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise UsageError(f"processes: cmdline {value!r} is no regular expression: {error}") from None
    return lambda pid, task: pattern.search(" ".join(procfs.cmdline(task))) is not None


def _hostname(value: str) -> Test:
    known: Dict[str, bool] = {}  # by namespace: a container's processes share one, and looking takes a fork

    def test(pid: int, task: int) -> bool:
        namespace = namespaces.identity(task, "uts")
        if namespace not in known:
            known[namespace] = hostname_of(task) == value
        return known[namespace]

    return test


def _exe_of(task: int) -> str:
    return without_deleted(procfs.exe(task))
