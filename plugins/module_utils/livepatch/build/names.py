# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Names that compilers make from names in the source.

gcc numbers function-local statics (``count.0``) and names the pieces and copies
that its passes make of a function: ``.cold`` (bb-reorder), ``.part.N`` (ipa-split),
``.constprop.N`` (ipa-cp), ``.isra.N`` (ipa-sra), ``.lto_priv.N`` (lto-partition).
They may stand one after the other.
"""

from __future__ import annotations

import re

_CLONE = re.compile(r"\.(constprop|isra|part|lto_priv|localalias|cold)(\.\d+)?")
_NUMBER = re.compile(r"\.\d+$")
_COLD = re.compile(r"\.cold(\.\d+)?$")
_MADE_BY_COMPILER = re.compile(
    r"^(\.L.*|C|CSWTCH|switch\.table.*|__func__|__FUNCTION__|__PRETTY_FUNCTION__)(\.\d+)*$"
)


def source_name(name: str) -> str:
    """The function or variable as the source spells it: ``f.part.0.constprop.1`` is ``f``, ``n.12`` is ``n``."""
    return _NUMBER.sub("", _CLONE.sub("", name))


def clone_kinds(name: str) -> tuple[str, ...]:
    """Which passes made this copy, first to last; empty for the function itself.  ``cold`` is no copy."""
    return tuple(kind for kind, _ in _CLONE.findall(name) if kind not in ("cold", "localalias"))


def without_numbers(name: str) -> str:
    """The name less the numbers, which a compiler counts anew for every build: ``f.part.1`` is ``f.part``."""
    return _NUMBER.sub("", _CLONE.sub(lambda found: "." + found.group(1), name))


def hot_part(name: str) -> str | None:
    """The function that a ``.cold`` symbol is the unlikely half of; ``None`` for other names."""
    return _COLD.sub("", name) if _COLD.search(name) else None


def is_thunk(name: str) -> bool:
    """Whether this is i386's ``__x86.get_pc_thunk.bx`` and the like, which every unit has a copy of."""
    return name.startswith("__x86.get_pc_thunk.")


def is_anonymous(name: str) -> bool:
    """Whether the compiler made this constant: its content says what it is, its name says nothing."""
    return bool(_MADE_BY_COMPILER.match(name))
