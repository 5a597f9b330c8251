# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The patches that are in a process, read from the process.

No stop and no file are needed: every patch has a named data mapping, which
/proc/PID/maps shows, and its ledger stands at the start of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..loading.load import Leftovers, leftovers
from ..process.snapshot import Snapshot
from . import ledger
from .ledger import Damaged, Ledger
