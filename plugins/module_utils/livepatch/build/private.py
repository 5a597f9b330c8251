# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Conventions between the target's code that stays and new code that was compiled without seeing it.

Callers in the unit of a replaced function may rely on more than the psABI promises. So either the new code is
proven to keep it (it writes no register that the old code did not write), or it is entered through a thunk, or the
patch is refused. The same thunks, the other way round, let new code call local functions of the target.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
from typing import Iterator, NamedTuple, Sequence

from ..cpu import Cpu
from ..elf import STB_LOCAL
from ..errors import Refused
from . import clobbers, convention, names, signatures, thunks
from .bind import InTarget
from .clobbers import Registers
from .compare import Difference
from .convention import Constraint
from .debug_info import Subprogram, Unit
from .objects import ObjectFile
from .proposal import Proposal
from .request import BuildRequest
from .selection import Replaced, Way
from .sight import PatchCode, TargetCode, UnitCode
from .signatures import Signature
from .statics import Pairing
from .target import TargetFile, TargetSymbol
from .thunks import Thunk


class Called(NamedTuple):
    """A function of the target that new code refers to by ``name``."""

    name: str
    symbol: TargetSymbol
    home: Unit


def settle(
    request: BuildRequest, target: TargetFile, proposal: Proposal, homes: Sequence[Unit], called: Sequence[Called]
) -> Proposal:
    """The proposal with thunks, constraints and warnings.

    :param proposal: of one new unit
    :param homes: the target's unit of each replaced function
    :raises Refused: ``private_abi``
    """
    return _Settlement(request, target, proposal, homes).run(called)


class _Settlement:
    def __init__(
        self, request: BuildRequest, target: TargetFile, proposal: Proposal, homes: Sequence[Unit]
    ) -> None:
        self._request = request
        self._target = target
        self._cpu = target.cpu
        self._proposal = proposal
        self._homes = homes
        self._code = TargetCode(target)
        self._thunks: list[Thunk] = []
        self._constraints = list(proposal.constraints)
        self._warnings = list(proposal.warnings)

    def run(self, called: Sequence[Called]) -> Proposal:
        proposal = self._proposal
        entries = {each.match.addresses[0]: index for index, each in enumerate(proposal.replaced)}
        given = dict(self._leaving([each for each in called if each.symbol.address not in entries]))
        patch = PatchCode(
            self._code, [each.new for each in proposal.units], proposal.binder,
            frozenset(each.name for each in self._thunks),
        )  # fmt: skip
        ways = [self._enter(index, patch, entries) for index in range(len(proposal.replaced))]
        if not self._thunks:
            return dataclasses.replace(
                proposal, constraints=tuple(self._constraints), warnings=tuple(self._warnings)
            )
        read = assembled(self._request, self._cpu, self._thunks)
        added = Difference(read, read, {}, (), tuple(sorted(read.functions)), (), Pairing({}, frozenset()), ())
        proposal.binder.given.update(given)
        return dataclasses.replace(
            proposal,
            units=(*proposal.units, added),
            debug=(*proposal.debug, Unit("", "", False)),
            replaced=tuple(
                dataclasses.replace(each, way=way) for each, way in zip(proposal.replaced, ways)
            ),
            constraints=tuple(self._constraints),
            warnings=tuple(self._warnings),
        )

    def _leaving(self, called: Sequence[Called]) -> Iterator[tuple[str, InTarget]]:
        """Thunks from the standard convention to those of local functions of the target; the names that they call."""
        for each in called:
            what = f"{each.symbol.name} of {each.home.file}"
            _refuse_clone(each.symbol.name)
            local = each.symbol.symbol.binding == STB_LOCAL
            signature = _signature(each.home, each.symbol)
            vector = self._result_in_vector(what, each.symbol, signature, each.home)
            if not self._is_private(what, local, signature, each.home) and not vector:
                continue
            assert signature is not None
            self._check_thunk(what, each.symbol.address, signature)
            name = f"livepatch.target.{len(self._thunks)}"
            stack, registers, offset = [], [], 0
            for parameter in signature.parameters:
                words = range(offset, offset + _room(self._cpu, parameter.size), self._cpu.word)
                if parameter.in_registers:
                    registers += [(str(place), at) for place, at in zip(parameter.places or (), words)]
                else:
                    stack += list(words)
                offset += len(words) * self._cpu.word
            moved = thunks.moved_result(signature.result.size, False) if vector else ()
            self._thunks.append(Thunk(each.name, name, (), tuple(stack), tuple(registers), moved))
            yield name, InTarget(each.symbol.name, each.symbol.address, each.symbol.file)

    def _enter(self, index: int, patch: PatchCode, entries: dict[int, int]) -> Way | None:
        """Prove a replaced function's convention, or make its thunk; note whose jump comes before its own.

        :raises Refused: ``private_abi``
        """
        each, home = self._proposal.replaced[index], self._homes[index]
        symbol = each.match.symbol
        what = f"{symbol.name} of {home.file}"
        _refuse_clone(symbol.name)
        signature = _signature(home, symbol)
        private = self._is_private(what, symbol.symbol.binding == STB_LOCAL, signature, home)
        private = self._result_in_vector(what, symbol, signature, home) or private
        interposable = self._target.interposable(each.old_name) and convention.may_be_interposed(home.producer)
        unit = self._code.of_unit(home)
        if unit.unread and not interposable:
            where = f"{home.file}: {unit.unread[0].name} has bytes that are no instruction"
            raise Refused("private_abi", f"{where}; whom it calls can not be told")
        callers = unit.callers(each.match.addresses[0])
        inside = {entries[caller.ranges[0][0]] for caller in callers if caller.ranges[0][0] in entries} - {index}
        staying = [caller for caller in callers if caller.ranges[0][0] not in entries]
        saved: Registers = frozenset()
        proven = interposable or not callers
        if not proven:
            saved, aligned = self._needs(each, signature, unit, patch)
            proven = not saved and aligned
        way = None
        if private or (staying and not proven):
            way = self._entering(what, each, signature, home, saved, private)
            proven = True
        if staying and not interposable:
            self._warnings.append(_unproven(home, staying, each))
        must = not proven and convention.is_optimised(home)
        self._constraints += [Constraint(before, index, must) for before in sorted(inside)]
        return way

    def _needs(
        self, each: Replaced, signature: Signature | None, unit: UnitCode, patch: PatchCode
    ) -> tuple[Registers, bool]:
        """What the new code may write that its callers may rely on; whether they align the stack as it needs it."""
        cpu = self._cpu
        old = clobbers.closure(cpu, each.match.addresses[0], self._code.effects, True)
        new = clobbers.closure(cpu, (each.unit, each.name), patch.effects, False)
        written = (new.registers & relied(cpu, unit.mentions)) - old.registers
        written -= results(cpu, signature) if signature is not None else frozenset()
        return written, old.leaves_sight or not new.wants_alignment

    def _entering(
        self, what: str, each: Replaced, signature: Signature | None, home: Unit, saved: Registers, private: bool
    ) -> Way:
        cpu = self._cpu
        if signature is None:
            raise Refused("private_abi", f"{what} needs a thunk, and no DWARF says what it takes")
        self._check_thunk(what, each.match.addresses[0], signature)
        new = self._proposal.debug[each.unit].find(each.name)
        if new is not None and any(parameter.in_registers for parameter in new.signature.parameters) and cpu.word == 4:
            raise Refused("private_abi", f"the new {each.name} takes arguments in registers")
        vectors = frozenset(f"xmm{number}" for number in range(16 if cpu.word == 8 else 8))
        lost = sorted(saved - clobbers.general(cpu) - vectors)
        doubtful = saved & frozenset(("rax", "rdx", "eax", "edx", "xmm0", "xmm1"))
        if lost or (doubtful and signature.result.kind not in ("none", "integer", "float")):
            which = ", ".join(lost or sorted(doubtful))
            raise Refused("private_abi", f"callers of {what} may keep values in {which}, which the new code may write")
        number = len(self._thunks)
        vector = self._result_in_vector(what, each.match.symbol, signature, home)
        thunk = Thunk(
            f"{each.name}.thunk", f"livepatch.new.{number}", sorted(saved), _stack_words(cpu, what, signature), (),
            thunks.moved_result(signature.result.size, True) if vector else (),
        )  # fmt: skip
        self._thunks.append(thunk)
        # Its unit comes behind those that are there.
        return Way(len(self._proposal.units), thunk.name, thunk.calls, private)

    def _is_private(self, what: str, local: bool, signature: Signature | None, home: Unit) -> bool:
        """Whether the target's function takes arguments in registers that the psABI does not name.

        :raises Refused: ``private_abi``: that can not be told
        """
        if self._cpu.word == 8:
            if not local or home.producer.startswith("GNU C"):
                return False  # where gcc changes the parameters, it changes the name, too
            odd = "no DWARF says what it takes" if signature is None else signatures.oddity(self._cpu, signature)
            if odd is not None:
                raise Refused("private_abi", f"{what} is local; {odd}")
            return False
        if signature is None:
            if local:
                raise Refused("private_abi", f"{what} is local, and no DWARF says what it takes")
            return False
        private = any(each.in_registers for each in signature.parameters)
        for each in signature.parameters:
            untold = each.places is None or (each.moved and convention.is_optimised(home))
            if untold and (local or private):
                raise Refused(
                    "private_abi",
                    f"{what} is local; where its parameter {each.name} is at its entry can not be told",
                )
        return private

    def _result_in_vector(
        self, what: str, symbol: TargetSymbol, signature: Signature | None, home: Unit
    ) -> bool:
        """i386: whether a local function leaves its result in xmm0, as gcc (-mfpmath=sse) and clang have it.

        One that leaves it in st(0), where the psABI has it, needs an x87 instruction, or a callee that does that.

        :raises Refused: ``private_abi``: that can not be told
        """
        if self._cpu.word == 8 or symbol.symbol.binding != STB_LOCAL or signature is None:
            return False
        vectors = any(each.startswith("xmm") for each in self._code.of_unit(home).mentions)
        if signature.result.kind != "float" or not vectors:
            return False
        effects = self._code.effects(symbol.address)
        if effects is not None and not effects.leads:
            x87, xmm = "mm" in effects.may, "xmm0" in effects.sure
            if x87 != xmm and (x87 or signature.result.size in (4, 8)):
                return xmm
        raise Refused("private_abi", f"{what} is local, and may return its result in xmm0")

    def _check_thunk(self, what: str, address: int, signature: Signature) -> None:
        """Whether a thunk can be made for a function of the target.

        :raises Refused: ``private_abi``
        """
        cpu = self._cpu
        if signature.variadic:
            raise Refused("private_abi", f"{what} needs a thunk, and takes a variable number of arguments")
        if cpu.word == 8:
            return
        effects = self._code.effects(address)
        if signature.result.kind in ("record", "complex", "other") or effects is None or effects.pops:
            raise Refused("private_abi", f"{what} needs a thunk, and returns more than a word or two")
        for each in signature.parameters:
            known = all(place in clobbers.general(cpu) for place in each.places or ()) or each.in_memory or each.moved
            if each.kind not in ("integer", "float") or (each.in_registers and not known):
                raise Refused("private_abi", f"{what} needs a thunk, which can not pass its parameter {each.name}")


def _signature(home: Unit, symbol: TargetSymbol) -> Signature | None:
    found: Subprogram | None = home.find(names.source_name(symbol.name), symbol.address)
    found = found or next((each for each in home.subprograms if each.ranges[0][0] == symbol.address), None)
    return found.signature if found is not None else None


def _refuse_clone(name: str) -> None:
    if names.clone_kinds(name):
        raise Refused("private_abi", f"{name} is a copy that the compiler made, with a convention of its own")


def _unproven(home: Unit, staying: Sequence[Subprogram], each: Replaced) -> str:
    who = ", ".join(sorted({caller.name for caller in staying}))
    verb = "stays as it is and was" if len({caller.name for caller in staying}) == 1 else "stay as they are and were"
    return (
        f"{home.file}: {who} {verb} compiled with {each.old_name} in sight: what the compiler concluded about"
        " memory that it leaves alone, or the range of its result, is not looked at"
    )


def relied(cpu: Cpu, mentions: Registers) -> Registers:
    """The call-clobbered registers in which code of a unit may keep a value over a call.

    A value in a register that no instruction names can only be one that passes through, an argument or a result.
    """
    through = frozenset(f"xmm{number}" for number in range(8)) if cpu.word == 8 else frozenset()
    return clobbers.general(cpu) | through | mentions


def results(cpu: Cpu, signature: Signature) -> Registers:
    """The registers that hold a function's result, as far as they are known."""
    kind, size = signature.result.kind, signature.result.size
    accumulator, data = ("rax", "rdx") if cpu.word == 8 else ("eax", "edx")
    if kind == "integer":
        return frozenset((accumulator,) if size <= cpu.word else (accumulator, data))
    return frozenset(("xmm0",)) if kind == "float" and cpu.word == 8 else frozenset()


def _stack_words(cpu: Cpu, what: str, signature: Signature) -> tuple[thunks.Word, ...]:
    """What a thunk copies for the new code, in the psABI's order.

    x86_64: registers stay as they are; at most all arguments are on the stack, and a copy of more than that is
    nobody's loss.

    :raises Refused: ``private_abi``
    """
    found: list[thunks.Word] = []
    if cpu.word == 4:
        offset = 0
        for each in signature.parameters:
            if each.in_registers:
                found += list(each.places or ())
                continue
            room = _room(cpu, each.size)
            found += range(offset, offset + room, cpu.word)
            offset += room
    elif not _all_in_registers(signature):
        for each in signature.parameters:
            if not each.size or each.kind == "other" or (each.kind == "record" and each.size % 32 == 0):
                raise Refused("private_abi", f"{what} needs a thunk, which can not pass its parameter {each.name}")
        found += range(0, sum(-(-each.size // 16) * 16 for each in signature.parameters), cpu.word)
    if len(found) * cpu.word > thunks.MOST_COPIED:
        raise Refused("private_abi", f"{what} needs a thunk, and takes more than {thunks.MOST_COPIED} bytes")
    return tuple(found)


def _all_in_registers(signature: Signature) -> bool:
    kinds = [each.kind for each in signature.parameters]
    if any(each.kind not in ("integer", "float") or each.size > 8 for each in signature.parameters):
        return False
    hidden = signature.result.kind in ("record", "other", "complex")
    return kinds.count("integer") + hidden <= 6 and kinds.count("float") <= 8


def _room(cpu: Cpu, size: int) -> int:
    """Bytes that an argument takes on the stack."""
    return -(-size // cpu.word) * cpu.word


def assembled(request: BuildRequest, cpu: Cpu, made: Sequence[Thunk]) -> ObjectFile:
    """The object of some thunks, made by the patch's own compiler.

    :raises Refused: ``compile_failed``
    """
    folder = tempfile.mkdtemp(prefix="livepatch-build-")
    try:
        source, path = os.path.join(folder, "thunks.s"), os.path.join(folder, "thunks.o")
        with open(source, "w") as file:
            file.write(thunks.text(cpu, made))
        command = [request.cc, "-m64" if cpu.word == 8 else "-m32", "-c", "-o", path, source]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        except OSError as error:
            raise Refused("compile_failed", f"{request.cc}: {error.strerror}") from error
        if done.returncode:
            raise Refused("compile_failed", f"{' '.join(command)}:\n{done.stdout.strip()}")
        return ObjectFile(path)
    finally:
        shutil.rmtree(folder)
