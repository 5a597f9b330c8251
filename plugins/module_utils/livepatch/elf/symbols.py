# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""Symbols and the string tables that their names stand in."""

from __future__ import annotations

from itertools import repeat
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from . import SHN_UNDEF, SHN_XINDEX, Malformed
from .layout import Buffer, Layout
from .versions import SymbolVersions


class Symbol(NamedTuple):
    """One entry of a symbol table; `value` and `size` in bytes, `value` as the file has it."""

    name: str
    value: int  # ET_REL: offset in its section, else link-time address (STT_TLS: offset in the TLS block)
    size: int
    type: int  # STT_*; STT_GNU_IFUNC: the value is the resolver, not the function
    binding: int  # STB_*
    visibility: int  # STV_*
    section_index: int  # SHN_XINDEX already resolved
    version: Optional[str]  # "GLIBC_2.17"; None: unversioned, or .symtab
    index: int  # type: ignore[assignment]  # in its table; hides tuple.index, which nobody needs here
    hidden_version: bool = False  # name@VERSION, found only by who asks for it, and not name@@VERSION

    @property
    def defined(self) -> bool:
        """Whether this file defines it; otherwise it is imported."""
        return self.section_index != SHN_UNDEF


class StringTable:
    """NUL-terminated strings by offset.

    Names are UTF-8; other bytes appear as backslash escapes, so that every name can be printed.
    """

    def __init__(self, data: Buffer) -> None:
        # latin-1 keeps offsets, and slicing str is quicker than slicing and decoding bytes
        self._text = str(data, "latin-1")
        self._plain = self._text.isascii()
        self._names: Dict[int, str] = {0: ""} if not self._text else {}
        # Linkers let strings share their tails. A table built to be read as a million long tails
        # of one string would cost the square of its size.
        self._budget = 64 * len(self._text) + 65536

    def at(self, offset: int) -> str:
        """The string at `offset`.

        :raises Malformed: outside of the table, or not terminated
        """
        name = self._names.get(offset)
        if name is None:
            name = self._names[offset] = self._decode(offset)
        return name

    def mentions(self, name: str) -> bool:
        """Whether any string is `name` or ends in it (a name may be another one's tail)."""
        return name.encode().decode("latin-1") + "\0" in self._text

    def _decode(self, offset: int) -> str:
        end = self._text.find("\0", offset)
        if end < 0 or offset < 0:
            raise Malformed(f"no string at {offset:#x} of a string table of {len(self._text):#x} bytes")
        self._budget -= end - offset
        if self._budget < 0:
            raise Malformed(f"the names in a string table of {len(self._text):#x} bytes overlap without end")
        name = self._text[offset:end]
        return name if self._plain else name.encode("latin-1").decode("utf-8", "backslashreplace")


def read_symbols(
    layout: Layout,
    table: Buffer,
    strings: StringTable,
    versions: Optional[SymbolVersions] = None,
    extended: Sequence[int] = (),
) -> List[Symbol]:
    """Every symbol of `table`, the null symbol at index 0 included.

    `extended` is SHT_SYMTAB_SHNDX: the section indices that do not fit 16 bits.

    :raises Malformed: a name, version or section index is not there
    """
    if len(table) % layout.symbol.size:
        raise Malformed(f"a symbol table of {len(table)} bytes does not hold entries of {layout.symbol.size}")
    rows = layout.symbol.iter_unpack(table)
    if layout.elf_class == 32:
        rows = ((name, info, other, section, value, size) for name, value, size, info, other, section in rows)
    labels: Iterable[Tuple[Optional[str], bool]] = repeat((None, False))
    if versions is not None:
        labels = versions.labels(len(table) // layout.symbol.size)
    name_at = strings.at
    symbols = [
        Symbol(name_at(name), value, size, info & 15, info >> 4, other & 3, section, version, index, hidden)
        for index, ((name, info, other, section, value, size), (version, hidden)) in enumerate(
            zip(rows, labels)
        )
    ]
    for index, symbol in enumerate(symbols):
        if symbol.section_index == SHN_XINDEX:
            if index >= len(extended):
                raise Malformed(f"symbol {index} has its section in a table that is missing")
            symbols[index] = symbol._replace(section_index=extended[index])
    return symbols
