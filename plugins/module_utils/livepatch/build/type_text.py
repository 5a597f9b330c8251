# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""DWARF types as text: equal texts, equal memory (DWARF 5, chapter 5).

A named struct is its name wherever another type refers to it, so that a text is finite; its own layout is a text
of its own.
"""

from __future__ import annotations

from typing import Any, Iterator

QUALIFIERS = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "_Atomic",
}
RECORDS = {
    "DW_TAG_structure_type": "struct",
    "DW_TAG_union_type": "union",
    "DW_TAG_class_type": "class",
    "DW_TAG_enumeration_type": "enum",
}
_POINTERS = {
    "DW_TAG_pointer_type": "*",
    "DW_TAG_reference_type": "&",
    "DW_TAG_rvalue_reference_type": "&&",
    "DW_TAG_ptr_to_member_type": "::*",
}
#: clang and C++ have other names for the same base types.
_AS_GCC_SAYS = {
    "short": "short int",
    "unsigned short": "short unsigned int",
    "long": "long int",
    "unsigned long": "long unsigned int",
    "long long": "long long int",
    "unsigned long long": "long long unsigned int",
    "bool": "_Bool",
}
_PLACES = ("data_member_location", "data_bit_offset", "bit_offset", "bit_size")
_DEEPEST = 40  # an anonymous type can not contain itself; only a broken table is deeper


def attribute(die: Any, name: str) -> Any:
    """The value of ``DW_AT_name``, looked for at the abstract origin and the declaration, too; or None."""
    for _ in range(4):
        found = die.attributes.get("DW_AT_" + name)
        if found is not None:
            return found.value
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in die.attributes:
                die = die.get_DIE_from_attribute(link)
                break
        else:
            return None
    return None


def text(die: Any, name: str) -> str:
    """A string attribute, "" where there is none."""
    value = attribute(die, name)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""


def origin(die: Any) -> Any:
    """The DIE that says what an instance is an instance of."""
    for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if link in die.attributes:
            return origin(die.get_DIE_from_attribute(link))
    return die


def of(die: Any, qualified: bool = False, depth: int = 0) -> str:
    """The type that a DIE has (``DW_AT_type``).

    :param qualified: whether ``const`` and the like count
    """
    holder = origin(die)
    if "DW_AT_type" not in holder.attributes:
        return "void"
    return describe(holder.get_DIE_from_attribute("DW_AT_type"), qualified, depth)


def describe(die: Any, qualified: bool = False, depth: int = 0) -> str:
    """A type."""
    if depth > _DEEPEST:
        return "..."
    tag = die.tag
    depth += 1
    if tag == "DW_TAG_typedef":
        return of(die, qualified, depth)
    if tag in QUALIFIERS:
        inner = of(die, qualified, depth)
        return f"{QUALIFIERS[tag]} {inner}" if qualified else inner
    if tag in _POINTERS:
        return of(die, False, depth) + _POINTERS[tag]
    if tag in RECORDS:
        name = text(die, "name")
        return f"{RECORDS[tag]} {name}" if name else layout(die, depth)
    if tag == "DW_TAG_array_type":
        bounds = "".join(f"[{_length(child)}]" for child in die.iter_children())
        return of(die, qualified, depth) + bounds
    if tag == "DW_TAG_subroutine_type":
        return prototype(die, depth)
    name = text(die, "name")
    return f"{_AS_GCC_SAYS.get(name, name)}:{attribute(die, 'encoding')}:{attribute(die, 'byte_size')}"


def _length(subrange: Any) -> str:
    count, upper = attribute(subrange, "count"), attribute(subrange, "upper_bound")
    if isinstance(count, int):
        return str(count)
    return str(upper + 1) if isinstance(upper, int) else ""


def prototype(die: Any, depth: int = 0) -> str:
    """What a function takes and returns."""
    holder = origin(die)
    parameters = []
    for child in holder.iter_children():
        if child.tag == "DW_TAG_formal_parameter":
            parameters.append(of(child, False, depth + 1))
        elif child.tag == "DW_TAG_unspecified_parameters":
            parameters.append("...")
    return f"{of(holder, False, depth + 1)}({', '.join(parameters)})"


def layout(die: Any, depth: int = 0) -> str:
    """The size and the members or enumerators of a struct, union, class or enum."""
    return f"{attribute(die, 'byte_size')} bytes {{{'; '.join(_members(die, depth))}}}"


def _members(die: Any, depth: int) -> Iterator[str]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_enumerator":
            yield f"{text(child, 'name')} = {attribute(child, 'const_value')}"
        elif child.tag == "DW_TAG_inheritance" or (
            child.tag == "DW_TAG_member" and "DW_AT_external" not in child.attributes
        ):
            where = [attribute(child, each) for each in _PLACES]
            place = ":".join("" if each is None else str(each) for each in where).rstrip(":")
            yield f"{text(child, 'name')} @{place} {of(child, False, depth + 1)}"
