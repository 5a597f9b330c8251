# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""SIGTERM, SIGINT and SIGHUP to us mean: finish the step, undo, leave."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Dict, Optional, Type

from ..errors import RolledBack

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Cancel:
    """While entered, those signals only leave a note, which :meth:`check` reads between steps."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> Cancel:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.signal = number

    def check(self) -> None:
        """:raises RolledBack: ``cancelled``; the caller undoes what it has begun"""
        if self.signal:
            raise RolledBack("cancelled", f"{signal.Signals(self.signal).name} came")
