# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""How a function is called: its parameters and its result, and where DWARF says that they are at its entry.

A compiler may give a function that nobody else can see a convention of its own without giving it another name:
gcc passes arguments of local functions in registers (i386, ``ix86_function_regparm``), clang does (``fastcc``) and
drops parameters that nobody reads. The locations of the parameters at the function's first instruction tell.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Tuple, Union

from ..cpu import Cpu
from . import type_text

#: Where a word of a parameter is: a register, by its name, or an offset from the frame base that DWARF counts from.
Place = Union[str, int]

_DW_OP_REG0, _DW_OP_BREG0, _DW_OP_FBREG, _DW_OP_PIECE = 0x50, 0x70, 0x91, 0x93
_X86_64 = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
_X86_64_VECTORS = range(17, 33)  # psABI, "DWARF Register Number Mapping"
_I386 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_I386_VECTORS = range(21, 29)
_FLOAT, _COMPLEX = 0x04, 0x03  # DW_ATE_*


class Value(NamedTuple):
    """A parameter or a result.

    :ivar kind: ``none``, ``integer`` (pointers, too), ``float``, ``complex``, ``record`` (struct, union), ``other``
    :ivar size: bytes
    :ivar places: where its words are, first to last; None: that can not be told
    """

    name: str
    kind: str
    size: int
    places: Tuple[Place, ...] | None

    @property
    def in_memory(self) -> bool:
        """Whether the caller leaves it on the stack. Below the frame base a function keeps what is its own."""
        return self.places is not None and all(isinstance(each, int) and each >= 0 for each in self.places)

    @property
    def in_registers(self) -> bool:
        """Whether any part of it comes in a register."""
        return self.places is not None and any(isinstance(each, str) for each in self.places)

    @property
    def moved(self) -> bool:
        """Whether DWARF only says where the function's own copy is, as it does without optimisation."""
        return self.places is not None and all(isinstance(each, int) and each < 0 for each in self.places)


class Signature(NamedTuple):
    """What a function takes and gives."""

    result: Value
    parameters: tuple[Value, ...]
    variadic: bool


def read(dwarf: Any, cu: Any, die: Any, entry: int) -> Signature:
    """The signature of a function that has code.

    :param entry: the address of its first instruction
    """
    parameters = []
    variadic = False
    for child in die.iter_children():
        if child.tag == "DW_TAG_formal_parameter":
            kind, size = _kind(child)
            places = _places(dwarf, cu, child, entry)
            if any(isinstance(each, str) for each in places or ()) and len(places or ()) * cu["address_size"] < size:
                places = None  # clang describes only a part of what it passes in pieces
            parameters.append(Value(type_text.text(child, "name"), kind, size, places))
        variadic = variadic or child.tag == "DW_TAG_unspecified_parameters"
    holder = type_text.origin(die)
    if holder is not die:
        variadic = variadic or any(each.tag == "DW_TAG_unspecified_parameters" for each in holder.iter_children())
    return Signature(Value("", *_kind(die), None), tuple(parameters), variadic)


def _kind(die: Any) -> tuple[str, int]:
    """The kind and the size of the type that a DIE has."""
    holder = type_text.origin(die)
    if "DW_AT_type" not in holder.attributes:
        return "none", 0
    kind = holder.get_DIE_from_attribute("DW_AT_type")
    while kind.tag == "DW_TAG_typedef" or kind.tag in type_text.QUALIFIERS:
        if "DW_AT_type" not in kind.attributes:
            return "none", 0
        kind = kind.get_DIE_from_attribute("DW_AT_type")
    size = type_text.attribute(kind, "byte_size")
    word = kind.cu["address_size"]
    if kind.tag in ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"):
        return "integer", word
    if not isinstance(size, int):
        return "other", 0
    if kind.tag == "DW_TAG_enumeration_type":
        return "integer", size
    if kind.tag == "DW_TAG_base_type":
        encoding = type_text.attribute(kind, "encoding")
        return {_FLOAT: "float", _COMPLEX: "complex"}.get(encoding, "integer"), size
    return ("record" if kind.tag in type_text.RECORDS else "other"), size


def _places(dwarf: Any, cu: Any, parameter: Any, entry: int) -> tuple[Place, ...] | None:
    location = parameter.attributes.get("DW_AT_location")
    if location is None:
        return None
    word = cu["address_size"]
    if location.form == "DW_FORM_exprloc":
        return _words(location.value, word)
    base = cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    start = base.value if base is not None else 0
    for each in dwarf.location_lists().get_location_list_at_offset(location.value, die=parameter):
        if hasattr(each, "base_address"):
            start = each.base_address
        elif hasattr(each, "loc_expr"):
            shift = 0 if each.is_absolute else start
            if each.begin_offset + shift <= entry <= each.end_offset + shift:
                return _words(each.loc_expr, word)
    return None


def _words(expression: Sequence[int], word: int) -> tuple[Place, ...] | None:
    """A location as places: one, or one for each piece."""
    places: list[Place] = []
    rest = list(expression)
    while rest:
        operation = rest.pop(0)
        if _DW_OP_REG0 <= operation < _DW_OP_REG0 + 32:
            places.append(_register(operation - _DW_OP_REG0, word))
        elif operation == _DW_OP_FBREG or _DW_OP_BREG0 <= operation < _DW_OP_BREG0 + 32:
            places.append(_sleb128(rest))
        else:
            return None
        if rest and rest.pop(0) != _DW_OP_PIECE:
            return None
        if len(rest) and rest.pop(0) > word:
            return None
    return tuple(places) or None


def _register(number: int, word: int) -> str:
    names, vectors = (_X86_64, _X86_64_VECTORS) if word == 8 else (_I386, _I386_VECTORS)
    if number in vectors:
        return f"xmm{number - vectors.start}"
    return names[number] if number < len(names) else f"register {number}"


def _sleb128(rest: list[int]) -> int:
    """The number at the beginning, which is taken away."""
    value = shift = 0
    while True:
        byte = rest.pop(0)
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value - (1 << shift) if byte & 0x40 else value


def standard_registers(cpu: Cpu, signature: Signature) -> list[tuple[str, ...]] | None:
    """The psABI's registers of each parameter, none for the stack; None at all where that is not worked out here.

    x86_64: "Parameter Passing"; i386 passes everything on the stack.
    """
    if cpu.word == 4:
        return [()] * len(signature.parameters)
    general, vector = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"], [f"xmm{number}" for number in range(8)]
    if signature.result.kind in ("record", "other", "complex"):
        return None
    found: list[tuple[str, ...]] = []
    for each in signature.parameters:
        words = -(-each.size // 8)
        if each.kind not in ("integer", "float", "record") or (each.kind != "record" and words != 1):
            return None
        left = vector if each.kind == "float" else general  # a record with floating-point members is odd, then
        found.append(tuple(left[:words]) if words <= min(len(left), 2) else ())
        del left[: len(found[-1])]
    return found


def oddity(cpu: Cpu, signature: Signature) -> str | None:
    """What is not as the psABI says, or not told: None where nothing is."""
    if not signature.parameters:
        return None
    expected = standard_registers(cpu, signature)
    if expected is None:
        return "how its arguments are passed can not be told"
    for each, registers in zip(signature.parameters, expected):
        if each.places is None or (each.moved and cpu.word == 4):
            return f"where its parameter {each.name} is at its entry can not be told"
        if each.moved:
            continue
        if each.places != registers if registers else not each.in_memory:
            return f"its parameter {each.name} is passed in {' and '.join(map(str, each.places))}"
    return None
