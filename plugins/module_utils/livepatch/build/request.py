# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a build is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

from ..artifact.manifest import Relation
from ..errors import UsageError


@dataclass(frozen=True)
class BuildRequest:
    """The inputs of one build; paths on the build host.

    Either object pairs (first old with first new, and so on) or ``patch_source``, one C file.

    :param debuginfo: the target's symbols and DWARF, where it is stripped
    :param old_objects_noline: the same units compiled with ``-D__LINE__=0``; they decide what changed
    :param cflags: for the compiler of ``patch_source``, after our own
    :param accept_copies: functions with an inlined copy, or clones, that may go on running old code
    """

    target: str
    name: str
    version: str
    debuginfo: str | None = None
    old_objects: Sequence[str] = ()
    new_objects: Sequence[str] = ()
    old_objects_noline: Sequence[str] = ()
    new_objects_noline: Sequence[str] = ()
    patch_source: str | None = None
    cflags: Sequence[str] = ()
    cc: str = "gcc"
    accept_copies: Sequence[str] = ()
    description: str = ""
    cve: Sequence[str] = ()
    supersedes: Sequence[str] = ()
    requires: Sequence[str] = ()
    conflicts: Sequence[str] = ()

    def check(self) -> None:
        """The inputs fit together.

        :raises UsageError: they do not
        """
        pairs = bool(self.old_objects or self.new_objects)
        if pairs == (self.patch_source is not None):
            raise UsageError("give either --old-objects and --new-objects, or --patch-source")
        if pairs and not (self.old_objects and self.new_objects):
            raise UsageError("--old-objects and --new-objects go together")
        if bool(self.old_objects_noline) != bool(self.new_objects_noline):
            raise UsageError("--old-objects-noline and --new-objects-noline go together")
        if self.old_objects_noline and not pairs:
            raise UsageError("--old-objects-noline belongs to --old-objects")
        if self.cflags and pairs:
            raise UsageError("--cflags belongs to --patch-source")
        for relation in (*self.supersedes, *self.requires, *self.conflicts):
            relation_of(relation)


def relation_of(text: str) -> Relation:
    """``NAME`` (any version) or ``NAME=VERSION``.

    :raises UsageError: neither
    """
    found = re.fullmatch(r"([^=\s]+)(?:=([^=\s]+))?", text)
    if found is None:
        raise UsageError(f"{text!r} is neither NAME nor NAME=VERSION")
    return Relation(found.group(1), found.group(2))
