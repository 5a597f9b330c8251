# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Does another process run on this one's memory, where our stop does not reach it?

A vfork child does, and what clone(CLONE_VM) without CLONE_THREAD makes.  Neither is
in /proc/PID/task.  Everybody is compared before the stop; in the stop, whoever was
born since, which the PID that was given out last tells without listing /proc.
"""

from __future__ import annotations

from typing import Collection, Iterable, Optional

from ..errors import Busy
from ..kernel import handles, procfs

# So many newborn are compared inside a stop, a microsecond each.
_MOST_NEWBORN = 256


class Sharing:
    """:param tid: a living thread of the process"""

    def __init__(self, pid: int, tid: int) -> None:
        self.pid = pid
        self._tid = tid
        self._last = 0

    def look(self) -> Optional[Busy]:
        """Compare with everybody; :meth:`look_again` starts from here."""
        self._last = procfs.last_pid()
        return self._compare(procfs.pids(), {self.pid})

    def look_again(self, own: Collection[int]) -> Optional[Busy]:
        """Compare with those that came since.

        :param own: the process's threads
        """
        last = procfs.last_pid()
        if last == self._last:
            return None
        if not self._last < last <= self._last + _MOST_NEWBORN:
            return Busy("shares_memory", "too many processes were started to tell whether one shares the memory")
        return self._compare(range(self._last + 1, last + 1), own)

    def _compare(self, others: Iterable[int], own: Collection[int]) -> Optional[Busy]:
        for other in others:
            if other in own:
                continue
            try:
                same = handles.same_address_space(self._tid, other)
            except (ProcessLookupError, PermissionError):
                # Without privileges we may not look at other users' processes.  None of
                # them runs on memory of ours: credentials are checked where memory is shared.
                continue
            if same:
                return Busy("shares_memory", f"process {other} runs on the memory of process {self.pid}")
        return None
