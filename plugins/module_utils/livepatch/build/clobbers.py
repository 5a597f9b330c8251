# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which call-clobbered registers code writes, told from its instructions.

gcc's -fipa-ra (``collect_fn_hard_reg_usage`` in gcc/final.cc) gathers the registers that a function and its callees
may write, and lets callers that see the function keep values in all others. So two answers are needed:

* ``may``: everything that the new code could write. What can not be told counts as everything.
* ``sure``: what gcc must have seen the old code write. What can not be told counts as nothing, but for calls out of
  gcc's sight, for which it takes the psABI's whole set.

A vector register counts as two: ``xmm3`` is its low 128 bits, ``ymm3`` whatever is above them. ``mm`` is the MMX and
x87 stack. Flags are call-clobbered for everybody and never counted.
"""

from __future__ import annotations

import re
from typing import Any, Callable, FrozenSet, Hashable, Iterator, NamedTuple, Optional, Sequence

import capstone
from capstone import x86

from ..cpu import Cpu
from . import instructions

Registers = FrozenSet[str]
Key = Hashable

_VECTORS = frozenset(f"{kind}mm{number}" for kind in "xy" for number in range(32))
_OTHERS = frozenset({"mm", *(f"k{number}" for number in range(8))})
_GENERAL = {
    8: frozenset(("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")),
    4: frozenset(("eax", "ecx", "edx")),
}


def general(cpu: Cpu) -> Registers:
    """The general registers that a callee may change (psABI, "Registers")."""
    return _GENERAL[cpu.word]


def everything(cpu: Cpu) -> Registers:
    """All registers that a callee may change."""
    return general(cpu) | _VECTORS | _OTHERS


class Effects(NamedTuple):
    """What a run of code does by itself.

    :ivar may, sure: as above
    :ivar leads: what it calls or jumps to outside of itself; None among them: that can not be told
    :ivar wants_alignment: whether it accesses 16 bytes of memory at once, which may have to be aligned
    :ivar pops: bytes of arguments that its returns take from the stack
    """

    may: Registers
    sure: Registers
    leads: frozenset[Key | None]
    wants_alignment: bool
    pops: frozenset[int]


class Sum(NamedTuple):
    """What a function does with everything that it calls.

    :ivar registers: of one of the two kinds
    :ivar leaves_sight: whether a call is among it that nobody can see through
    """

    registers: Registers
    leaves_sight: bool
    wants_alignment: bool


#: Where a lead goes that is known to be out of sight: another file, by a PLT or a pointer.
OUTSIDE = "outside"


class Piece(NamedTuple):
    """A run of code: its bytes, the address of the first."""

    code: bytes
    address: int


def effects(
    cpu: Cpu, pieces: Sequence[Piece], led: Callable[[int, instructions.Instruction], Optional[Key]]
) -> Effects:
    """Read some code.

    :param led: (index of the piece, a direct call or jump) -> what it leads to; "" for the same function
    """
    may: set[str] = set()
    sure: set[str] = set()
    leads: set[Key | None] = set()
    pushed: set[str] = set()
    popped: set[str] = set()
    pops: set[int] = set()
    wants_alignment = False
    for index, piece in enumerate(pieces):
        reached = piece.address
        before = ""
        for each in _decoded(cpu, piece):
            reached = each.address + each.size
            plain = instructions.plain(each.address, each.size, each.mnemonic, each.op_str)
            reads = _Reader(cpu, each, plain.mnemonic)
            may |= reads.may
            sure |= reads.sure
            wants_alignment = wants_alignment or reads.wide_access
            if plain.branch:
                leads |= {each for each in [_lead(plain, index, led, each)] if each != ""}
            elif plain.mnemonic in ("push", "pop"):
                (pushed if plain.mnemonic == "push" else popped).update(reads.general_operands)
            elif plain.mnemonic.startswith("ret") and plain.operands:
                pops.add(int(plain.operands, 0))
            if plain.mnemonic.startswith("ret") and _SETS_RETURN.match(before):
                leads.add(OUTSIDE)
            before = f"{plain.mnemonic} {plain.operands}"
        if reached != piece.address + len(piece.code):
            leads.add(None)
    # Saved and put back: an asm statement may do that without the compiler's knowing the register.
    return Effects(
        frozenset(may), frozenset(sure - (pushed & popped)), frozenset(leads),
        wants_alignment, frozenset(pops),
    )  # fmt: skip


#: A return to an address that was just stored is an indirect jump (-mindirect-branch, retpolines).
_SETS_RETURN = re.compile(r"push |mov [qd]word ptr \[[re]sp\],")


def _decoded(cpu: Cpu, piece: Piece) -> Iterator[Any]:
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if cpu.word == 8 else capstone.CS_MODE_32)
    engine.detail = True
    yield from engine.disasm(piece.code, piece.address)


def _lead(plain: instructions.Instruction, index: int, led: Callable[..., Key | None], raw: Any) -> Key | None:
    if instructions.direct_destination(plain) is not None:
        return led(index, plain)
    segment = raw.operands[0].mem.segment if raw.operands and raw.operands[0].type == x86.X86_OP_MEM else 0
    if plain.mnemonic == "call" and not segment:
        return OUTSIDE
    return led(index, plain) if plain.mnemonic in ("jmp", "call") and not segment else None


def closure(cpu: Cpu, start: Key, effects_of: Callable[[Key], Optional[Effects]], sure: bool) -> Sum:
    """One answer over a function and all that it calls.

    :param effects_of: of a key; None: that code is not known
    """
    found: set[str] = set()
    leaves, wide = False, False
    seen: set[Key] = set()
    waiting: list[Key | None] = [start]
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        known = effects_of(key) if key is not None and key != OUTSIDE else None
        if known is None:
            if key == OUTSIDE or not sure:
                return Sum(everything(cpu), True, True)
            continue
        found |= known.sure if sure else known.may
        wide = wide or known.wants_alignment
        waiting.extend(known.leads)
    return Sum(frozenset(found), leaves, wide)


# One instruction


_READS_ITS_FIRST = re.compile(
    r"cmp|test|push\w*|bt|v?u?comis[sd]|v?ptest|vtestp[sd]|k(or)?test\w|v?pcmp[ei]str[im]|nop|v?maskmovdqu|call|jmp"
    r"|i?div|mul|out|prefetch\w*|wr[fg]sbase"
)
#: Written without being named, by mnemonic (SDM volume 2).
_UNNAMED = (
    (re.compile(r"i?mul|i?div|cmpxchg(8b|16b)|rdpkru"), "ax dx"),
    (re.compile(r"cmpxchg|cdqe|cwde|cbw|lahf|xlatb?|aa[amds]|da[as]|xbegin|xabort|salc|int|in"), "ax"),
    (re.compile(r"cdq|cqo|cwd"), "dx"),
    (re.compile(r"cpuid|rdtscp?|rdpmc|xgetbv|enclu"), "ax cx dx"),
    (re.compile(r"syscall|sysenter"), "ax cx dx r11"),
    (re.compile(r"(movs|stos|lods|cmps|scas|ins|outs)[bwdq]"), "ax cx si di"),
    (re.compile(r"loop(n?e)?"), "cx"),
    (re.compile(r"v?pcmp[ei]stri"), "cx"),
    (re.compile(r"v?pcmp[ei]strm"), "xmm0"),
)
_RESTORES = re.compile(r"fxrstor\w*|xrstors?\w*|xbegin")
_WRITES_TWO = re.compile(r"xchg|xadd|mulx")
_NAMED = re.compile(r"(?:([re]?)(ax|cx|dx|si|di)|([acd])[lh]|(si|di)l|r(8|9|10|11)[bwd]?)$")


class _Reader:
    """What one instruction writes and names."""

    def __init__(self, cpu: Cpu, raw: Any, mnemonic: str) -> None:
        self._cpu = cpu
        self._raw = raw
        self._mnemonic = mnemonic
        self._extended = mnemonic.startswith("v")  # VEX and EVEX clear what is above the written part
        named = [raw.reg_name(each.reg) for each in raw.operands if each.type == x86.X86_OP_REG]
        units = frozenset(unit for name in named for unit in self._units(name, False))
        self.general_operands = units & general(cpu)
        self.names_others = bool(units - general(cpu))
        wide = any(each.type == x86.X86_OP_MEM and each.size >= 16 for each in raw.operands)
        self.wide_access = wide and self.names_others
        self._of_table = self._from_table()
        self._of_capstone = [raw.reg_name(each) for each in raw.regs_access()[1]]

    def _units(self, name: str, whole: bool) -> Iterator[str]:
        """The registers of ours that a register is a part of; ``whole``: with what is above 128 bits."""
        found = _NAMED.match(name)
        if found is not None:
            short = found.group(2) or found.group(4) or (found.group(3) + "x" if found.group(3) else None)
            unit = f"r{found.group(5)}" if short is None else ("r" if self._cpu.word == 8 else "e") + short
            if unit in general(self._cpu):
                yield unit
        elif name[1:3] == "mm" and name[0] in "xyz":
            yield "xmm" + name[3:]
            if whole or name[0] != "x" or self._extended:
                yield "ymm" + name[3:]
        elif name.startswith(("mm", "st")):
            yield "mm"
        elif re.fullmatch("k[0-7]", name):
            yield name

    def _from_table(self) -> list[str]:
        raw, mnemonic = self._raw, self._mnemonic
        names = [word for pattern, words in _UNNAMED if pattern.fullmatch(mnemonic) for word in words.split()]
        if mnemonic == "imul" and len(raw.operands) > 1 or (mnemonic == "movsd" and self.names_others):
            names = []
        registers = [raw.reg_name(each.reg) if each.type == x86.X86_OP_REG else "" for each in raw.operands]
        if not _READS_ITS_FIRST.fullmatch(mnemonic) or (mnemonic == "imul" and len(raw.operands) > 1):
            names += registers[:1]
        if _WRITES_TWO.fullmatch(mnemonic) or "gather" in mnemonic:
            names += registers
        return [name for name in names if name]

    @property
    def may(self) -> Registers:
        """Whatever either source says."""
        if _RESTORES.fullmatch(self._mnemonic):
            return everything(self._cpu)
        if self._mnemonic in ("vzeroupper", "vzeroall"):
            return frozenset(each for each in _VECTORS if each[0] == "y" or self._mnemonic == "vzeroall")
        fpu = {"mm"} if self._raw.group(x86.X86_GRP_FPU) or self._mnemonic.startswith("f") else set()
        return frozenset({*self._all(self._of_table, False), *self._all(self._of_capstone, False), *fpu})

    @property
    def sure(self) -> Registers:
        """What both say; gcc knows hard registers as a whole."""
        if self._mnemonic in ("vzeroupper", "vzeroall") or _RESTORES.fullmatch(self._mnemonic):
            return frozenset()
        return frozenset({*self._all(self._of_table, True)} & {*self._all(self._of_capstone, True)})

    def _all(self, names: Sequence[str], whole: bool) -> Iterator[str]:
        for name in names:
            yield from self._units(name, whole)
