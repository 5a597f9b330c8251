# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Relocations: what each type computes, into how wide a field, and what must fit.

Sources, each its section "Relocation Types":

- System V ABI, AMD64 supplement 1.0, https://gitlab.com/x86-psABIs/x86-64-ABI
- System V ABI, Intel386 supplement 1.1, https://gitlab.com/x86-psABIs/i386-ABI

Both name the operands alike::

    S  value of the symbol                     P    address of the field
    A  addend: RELA entry, or the field's own  GOT  address of the patch's own GOT
    G  offset of the symbol's slot in the GOT  Z    size of the symbol
    L  where a call of the symbol goes: the symbol itself, or a near-call stub

The tables name every type there is.  One that a running process can not be
given by us has no formula, so that a gap shows as its name and never as a
number that fell through.
"""

from __future__ import annotations

import enum
import struct
from typing import Callable, Iterable, Mapping, NamedTuple


class Operands(NamedTuple):
    """What a formula may use; the letters are the psABI's."""

    S: int
    A: int
    P: int
    L: int
    G: int
    GOT: int
    Z: int
    based: bool  # i386: the instruction adds a base register to the field


class Fit(enum.Enum):
    """Which values a field takes without losing bits."""

    SIGNED = "fits as a signed number"
    UNSIGNED = "fits as an unsigned number"
    EITHER = "fits as a signed or as an unsigned number"
    WRAPS = "as wide as an address: wraps as addresses do"


class Formula(NamedTuple):
    """How a type computes its value.

    :param text: as the psABI prints it; what the table is checked against
    :param compute: the same over :class:`Operands`
    """

    text: str
    compute: Callable[[Operands], int]

    @property
    def needs_slot(self) -> bool:
        """Whether the symbol must have a slot in the GOT."""
        return "G" in self.text.split()

    @property
    def needs_symbol(self) -> bool:
        """Whether the symbol's address counts: not where only its size or the GOT itself is asked for."""
        return bool({"S", "L", "G"} & set(self.text.split()))


ABSOLUTE = Formula("S + A", lambda o: o.S + o.A)
RELATIVE = Formula("S + A - P", lambda o: o.S + o.A - o.P)
CALL = Formula("L + A - P", lambda o: o.L + o.A - o.P)
CALL_FROM_GOT = Formula("L - GOT + A", lambda o: o.L - o.GOT + o.A)
FROM_GOT = Formula("S + A - GOT", lambda o: o.S + o.A - o.GOT)
GOT_RELATIVE = Formula("GOT + A - P", lambda o: o.GOT + o.A - o.P)
SLOT = Formula("G + A", lambda o: o.G + o.A)
SLOT_RELATIVE = Formula("G + GOT + A - P", lambda o: o.G + o.GOT + o.A - o.P)
# Intel386 psABI on R_386_GOT32 and R_386_GOT32X: without a base register, the slot's absolute address.
SLOT_BASED = Formula("G + A", lambda o: o.G + o.A + (0 if o.based else o.GOT))
NOTHING = Formula("none", lambda o: 0)
SIZE = Formula("Z + A", lambda o: o.Z + o.A)


class Stub(NamedTuple):
    """An instruction near the caller that goes where the caller's own field can not."""

    size: int  # bytes, a multiple of its alignment
    encode: Callable[[int, int], bytes]  # (address of the stub, address of the slot that it jumps through)


class Relocation(NamedTuple):
    """One relocation type.

    :param name: the psABI's
    :param width: bytes in the field, little endian; 0 where nothing is stored
    :param fit: which values are stored; all others overflow
    :param formula: ``None``: not supported, refused by name
    :param stub: what a call can be sent through when its destination is out of the field's reach
    """

    name: str
    width: int = 0
    fit: Fit = Fit.WRAPS
    formula: Formula | None = None
    stub: Stub | None = None

    def encode(self, value: int, address_width: int) -> bytes:
        """The field's new bytes.

        :param value: any integer, taken modulo the size of the address space
        :param address_width: bytes in an address
        :raises OverflowError: it does not fit, by the rule of ``fit``
        """
        bits = 8 * self.width
        unsigned = value & (1 << 8 * address_width) - 1
        signed = unsigned - (unsigned >> 8 * address_width - 1 << 8 * address_width)
        if self.fit is not Fit.WRAPS:
            number = unsigned if self.fit is Fit.UNSIGNED else signed
            lowest = 0 if self.fit is Fit.UNSIGNED else -(1 << bits - 1)
            end = 1 << (bits - 1 if self.fit is Fit.SIGNED else bits)
            if not lowest <= number < end:
                raise OverflowError(f"{number:#x} does not fit the {self.width} bytes of {self.name}")
        return (unsigned & (1 << bits) - 1).to_bytes(self.width, "little")

    def implicit_addend(self, field: bytes) -> int:
        """The addend that a REL entry leaves in the field, sign-extended (gABI, "Relocation")."""
        return int.from_bytes(field, "little", signed=True)

    @property
    def holds_low_address(self) -> bool:
        """Whether it stores an absolute address in fewer bits than a 64-bit address has."""
        return self.formula is ABSOLUTE and self.width == 4 and self.fit is not Fit.WRAPS


def _table(
    prefix: str, supported: Mapping[int, Relocation], unsupported: Mapping[int, str]
) -> dict[int, Relocation]:
    assert not set(supported) & set(unsupported)
    table = {number: Relocation(prefix + name) for number, name in unsupported.items()}
    for number, entry in supported.items():
        table[number] = Relocation(prefix + entry.name, entry.width, entry.fit, entry.formula, entry.stub)
    return table


def _run(first: int, names: Iterable[str]) -> dict[int, str]:
    return dict(enumerate(names, first))


def _jump_through_slot(stub: int, slot: int) -> bytes:
    """``jmp *slot(%rip)``, padded with ``int3`` (Intel SDM volume 2: JMP FF /4).

    :raises struct.error: the slot is farther than 2 GiB, which a layout of ours never makes
    """
    return b"\xff\x25" + struct.pack("<i", slot - (stub + 6)) + b"\xcc\xcc"


_JUMP = Stub(8, _jump_through_slot)

X86_64: Mapping[int, Relocation] = _table(
    "R_X86_64_",
    {
        0: Relocation("NONE", 0, Fit.WRAPS, NOTHING),
        1: Relocation("64", 8, Fit.WRAPS, ABSOLUTE),
        # Also what assemblers before binutils 2.31 gave a call or a jump: see loading/link.py.
        2: Relocation("PC32", 4, Fit.SIGNED, RELATIVE, _JUMP),
        3: Relocation("GOT32", 4, Fit.SIGNED, SLOT),
        4: Relocation("PLT32", 4, Fit.SIGNED, CALL, _JUMP),
        9: Relocation("GOTPCREL", 4, Fit.SIGNED, SLOT_RELATIVE),
        10: Relocation("32", 4, Fit.UNSIGNED, ABSOLUTE),
        11: Relocation("32S", 4, Fit.SIGNED, ABSOLUTE),
        12: Relocation("16", 2, Fit.EITHER, ABSOLUTE),
        13: Relocation("PC16", 2, Fit.SIGNED, RELATIVE),
        14: Relocation("8", 1, Fit.EITHER, ABSOLUTE),
        15: Relocation("PC8", 1, Fit.SIGNED, RELATIVE),
        24: Relocation("PC64", 8, Fit.WRAPS, RELATIVE),
        25: Relocation("GOTOFF64", 8, Fit.WRAPS, FROM_GOT),
        26: Relocation("GOTPC32", 4, Fit.SIGNED, GOT_RELATIVE),
        27: Relocation("GOT64", 8, Fit.WRAPS, SLOT),
        28: Relocation("GOTPCREL64", 8, Fit.WRAPS, SLOT_RELATIVE),
        29: Relocation("GOTPC64", 8, Fit.WRAPS, GOT_RELATIVE),
        31: Relocation("PLTOFF64", 8, Fit.WRAPS, CALL_FROM_GOT),
        32: Relocation("SIZE32", 4, Fit.UNSIGNED, SIZE),
        33: Relocation("SIZE64", 8, Fit.WRAPS, SIZE),
        # The X kinds permit a linker to rewrite the instruction; keeping the slot is as right.
        41: Relocation("GOTPCRELX", 4, Fit.SIGNED, SLOT_RELATIVE),
        42: Relocation("REX_GOTPCRELX", 4, Fit.SIGNED, SLOT_RELATIVE),
    },
    {
        # only ever in executables and libraries
        5: "COPY",
        6: "GLOB_DAT",
        7: "JUMP_SLOT",
        8: "RELATIVE",
        37: "IRELATIVE",
        38: "RELATIVE64",
        # thread-local storage
        **_run(16, ("DTPMOD64", "DTPOFF64", "TPOFF64", "TLSGD", "TLSLD", "DTPOFF32", "GOTTPOFF", "TPOFF32")),
        **_run(34, ("GOTPC32_TLSDESC", "TLSDESC_CALL", "TLSDESC")),
        44: "CODE_4_GOTTPOFF",
        45: "CODE_4_GOTPC32_TLSDESC",
        # withdrawn from the psABI: lazy slots, MPX
        30: "GOTPLT64",
        39: "PC32_BND",
        40: "PLT32_BND",
        # APX
        43: "CODE_4_GOTPCRELX",
        # GNU: notes for garbage collection of virtual tables
        250: "GNU_VTINHERIT",
        251: "GNU_VTENTRY",
    },
)

# 32-bit addresses wrap, so nothing is out of reach
# and no call needs a stub: calls go straight to the function, and none needs %ebx.
I386: Mapping[int, Relocation] = _table(
    "R_386_",
    {
        0: Relocation("NONE", 0, Fit.WRAPS, NOTHING),
        1: Relocation("32", 4, Fit.WRAPS, ABSOLUTE),
        2: Relocation("PC32", 4, Fit.WRAPS, RELATIVE),
        3: Relocation("GOT32", 4, Fit.WRAPS, SLOT_BASED),
        4: Relocation("PLT32", 4, Fit.WRAPS, CALL),
        9: Relocation("GOTOFF", 4, Fit.WRAPS, FROM_GOT),
        10: Relocation("GOTPC", 4, Fit.WRAPS, GOT_RELATIVE),
        20: Relocation("16", 2, Fit.EITHER, ABSOLUTE),
        21: Relocation("PC16", 2, Fit.SIGNED, RELATIVE),
        22: Relocation("8", 1, Fit.EITHER, ABSOLUTE),
        23: Relocation("PC8", 1, Fit.SIGNED, RELATIVE),
        38: Relocation("SIZE32", 4, Fit.WRAPS, SIZE),
        43: Relocation("GOT32X", 4, Fit.WRAPS, SLOT_BASED),
    },
    {
        # only ever in executables and libraries
        5: "COPY",
        6: "GLOB_DAT",
        7: "JUMP_SLOT",
        8: "RELATIVE",
        42: "IRELATIVE",
        # needs the %ebx of the target's procedure linkage table; no compiler emits it
        11: "32PLT",
        # thread-local storage
        **_run(14, ("TLS_TPOFF", "TLS_IE", "TLS_GOTIE", "TLS_LE", "TLS_GD", "TLS_LDM")),
        **_run(24, ("TLS_GD_32", "TLS_GD_PUSH", "TLS_GD_CALL", "TLS_GD_POP")),
        **_run(28, ("TLS_LDM_32", "TLS_LDM_PUSH", "TLS_LDM_CALL", "TLS_LDM_POP", "TLS_LDO_32")),
        **_run(33, ("TLS_IE_32", "TLS_LE_32", "TLS_DTPMOD32", "TLS_DTPOFF32", "TLS_TPOFF32")),
        **_run(39, ("TLS_GOTDESC", "TLS_DESC_CALL", "TLS_DESC")),
        # GNU: notes for garbage collection of virtual tables
        250: "GNU_VTINHERIT",
        251: "GNU_VTENTRY",
    },
)
