# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Does another process run on this one's memory, where our stop does not reach it?

A vfork child does, and what clone(CLONE_VM) without CLONE_THREAD makes.  Neither is
in /proc/PID/task.  Everybody is compared before the stop; in the stop, whoever was
born since, which the PID that was given out last tells without listing /proc.
"""

from __future__ import annotations

from typing import Collection, Optional, Tuple

from ..errors import Busy
from ..kernel import kcmp, procfs
from ..process.observations import sharing

# So many newborn are compared inside a stop, a microsecond each.
_MOST_NEWBORN = 256


class Sharing:
    """:param task: the process, or a living thread of it"""

    def __init__(self, pid: int, task: int) -> None:
        self.pid = pid
        self._task = task
        self._last = 0

    def look(self) -> Optional[Busy]:
        """Compare with everybody; :meth:`look_again` starts from here."""
        self._last = procfs.last_pid()
        return self._blocker(sharing(self._task, kcmp.same_address_space, procfs.pids()))

    def look_again(self, own: Collection[int]) -> Optional[Busy]:
        """Compare with those that came since.

        :param own: the process's threads
        """
        last = procfs.last_pid()
        if last == self._last:
            return None
        if not self._last < last <= self._last + _MOST_NEWBORN:
            return Busy("shares_memory", "too many processes were started to tell whether one shares the memory")
        born = [pid for pid in range(self._last + 1, last + 1) if pid not in own]
        return self._blocker(sharing(self._task, kcmp.same_address_space, born))

    def _blocker(self, found: Tuple[int, ...]) -> Optional[Busy]:
        others = [pid for pid in found if pid != self.pid]
        if not others:
            return None
        return Busy("shares_memory", f"process {others[0]} runs on the memory of process {self.pid}")
