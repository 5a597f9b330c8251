# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What is to be replaced, and by what: both ways of building a patch end here."""

from __future__ import annotations

from dataclasses import dataclass

from .bind import Binder
from .compare import Difference
from .convention import Constraint
from .debug_info import Unit
from .selection import Replaced


@dataclass(frozen=True)
class Proposal:
    """
    :ivar debug: the DWARF of each unit's new build
    :ivar constraints: which jump must, or should, be written before which
    :ivar warnings: what the patch's author should know, a sentence each
    """

    units: tuple[Difference, ...]
    debug: tuple[Unit, ...]
    replaced: tuple[Replaced, ...]
    binder: Binder
    constraints: tuple[Constraint, ...]
    warnings: tuple[str, ...] = ()
