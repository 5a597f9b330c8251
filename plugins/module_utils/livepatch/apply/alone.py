# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Two operators at once: what was looked at is worked on only while nobody else has, or has had, a hand in it.

Who holds a thread of a process works on it, and everybody else sees that
(TracerPid).  But looking comes before holding: between the two another
livepatch may have come and gone.
"""

from __future__ import annotations

from ..errors import Refused
from ..loading import load
from ..process.snapshot import take
from ..tracee.tracee import Tracee
from . import installed
from .case import Case
from .installed import Installed


def claim(tracee: Tracee, case: Case) -> None:
    """Hold the process, and see that no patch has come into it since it was looked at.

    What was there then, and is built upon, is compared where it is used (``switch.claim``).

    :raises Refused: ``in_use_by``, ``being_traced``
    :raises Gone: the process has ended
    """
    tracee.claim()
    assert case.installed is not None
    known = {found.data[0] for found in (*case.installed.ledgers, *case.planned_before)}
    if not known.issuperset(load.data_mappings(tracee.mappings())):
        raise Refused("in_use_by", f"a patch was put into process {tracee.pid} while we looked")


def look_again(tracee: Tracee) -> Installed:
    """Hold the process, and read what is in it: what looked interrupted may have been somebody at work.

    :raises Refused: ``in_use_by``, ``being_traced``
    :raises Gone, ProcessLookupError: the process has ended
    """
    tracee.claim()
    snapshot = take(tracee.pid)
    return installed.read(snapshot, snapshot.memory.read)
