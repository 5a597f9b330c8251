# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""Symbol versions: what .gnu.version, .gnu.version_d and .gnu.version_r say (LSB 5.0 core, chapter 10).

::

    versym[i] = 0x8003        definition 3: "GLIBC_2.17"       need 5: "GLIBC_2.34" of "libc.so.6"
                |    |                   ^                               ^
                |    +-------------------+---- index into both ----------+
                +-- hidden: name@GLIBC_2.17, not the default name@@GLIBC_2.17
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from . import Malformed
from .layout import Buffer

HIDDEN = 0x8000
LOCAL, GLOBAL = 0, 1  # indices that name no version
BASE = 1  # VER_FLG_BASE: this definition names the file itself

_DEFINITION = struct.Struct("<HHHHIII")  # vd_version, flags, ndx, cnt, hash, aux, next
_DEFINITION_NAME = struct.Struct("<II")  # vda_name, next
_NEED = struct.Struct("<HHIII")  # vn_version, cnt, file, aux, next
_NEED_NAME = struct.Struct("<IHHII")  # vna_hash, flags, other, name, next

StringAt = Callable[[int], str]


class SymbolVersions:
    """The version of each dynamic symbol of one file.

    :ivar names: version index -> name
    :ivar libraries: version index -> file name (a DT_NEEDED) that must define it; of needs only
    """

    def __init__(self, indices: Sequence[int], names: Dict[int, str], libraries: Dict[int, str]) -> None:
        self.indices = indices
        self.names = names
        self.libraries = libraries

    def of(self, symbol: int) -> Tuple[Optional[str], bool]:
        """(version or None, hidden) of the symbol with this index.

        :raises Malformed: the tables do not know the symbol or its version
        """
        if symbol >= len(self.indices):
            raise Malformed(f"symbol {symbol} has no entry among {len(self.indices)} symbol versions")
        return self._label(self.indices[symbol])

    def labels(self, count: int) -> List[Tuple[Optional[str], bool]]:
        """:meth:`of` for the first `count` symbols: few versions, many symbols."""
        if count > len(self.indices):
            raise Malformed(f"{count} symbols, and {len(self.indices)} symbol versions")
        indices = self.indices[:count]
        known = {index: self._label(index) for index in set(indices)}
        return [known[index] for index in indices]

    def _label(self, index: int) -> Tuple[Optional[str], bool]:
        hidden = index >= HIDDEN
        index &= HIDDEN - 1
        if index <= GLOBAL:
            return None, hidden
        name = self.names.get(index)
        if name is None:
            raise Malformed(f"symbol version {index} is not defined")
        return name, hidden


def read_indices(table: Buffer) -> Sequence[int]:
    """The entries of .gnu.version, one for each dynamic symbol."""
    if len(table) % 2:
        raise Malformed(f"a symbol version table of {len(table)} bytes")
    return struct.unpack(f"<{len(table) // 2}H", table)


def read_definitions(table: Buffer, count: int, string_at: StringAt) -> Dict[int, str]:
    """.gnu.version_d, `count` definitions: index -> name, without the one that names the file."""
    names: Dict[int, str] = {}
    position = 0
    for _ in range(_bounded(count, table, _DEFINITION)):
        _, flags, index, names_here, _, name_offset, following = _record(_DEFINITION, table, position)
        if names_here < 1:
            raise Malformed(f"version definition {index} without a name")
        if not flags & BASE:
            # further names are the versions that this one inherits from: nothing that a lookup asks for
            name, _ = _record(_DEFINITION_NAME, table, position + name_offset)
            names[index & (HIDDEN - 1)] = string_at(name)
        if not following:
            break
        position += following
    return names


def read_needs(table: Buffer, count: int, string_at: StringAt) -> Tuple[Dict[int, str], Dict[int, str]]:
    """.gnu.version_r, `count` files: (index -> name, index -> file that must define it)."""
    names: Dict[int, str] = {}
    libraries: Dict[int, str] = {}
    position = 0
    left = len(table) // _NEED_NAME.size  # of all chains together, so that none is read over and over
    for _ in range(_bounded(count, table, _NEED)):
        _, names_here, file_name, name_offset, following = _record(_NEED, table, position)
        library = string_at(file_name)
        chain = position + name_offset
        for _ in range(names_here):
            left -= 1
            if left < 0:
                raise Malformed("version needs overlap")
            _, _, index, name, next_name = _record(_NEED_NAME, table, chain)
            names[index & (HIDDEN - 1)] = string_at(name)
            libraries[index & (HIDDEN - 1)] = library
            if not next_name:
                break
            chain += next_name
        if not following:
            break
        position += following
    return names, libraries


def _bounded(count: int, table: Buffer, record: struct.Struct) -> int:
    if count * record.size > len(table):
        raise Malformed(f"{count} version records do not fit {len(table)} bytes")
    return count


def _record(record: struct.Struct, table: Buffer, position: int) -> Tuple[int, ...]:
    if position + record.size > len(table):
        raise Malformed(f"version record at {position:#x} of a table of {len(table):#x} bytes")
    return record.unpack_from(table, position)
