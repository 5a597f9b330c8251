# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a manifest must keep that one value alone can not show.

JSON Schema can not say these rules.  Each yields what breaks it; its docstring
is printed in the published schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from .shapes import Mismatch, shown

if TYPE_CHECKING:
    from .manifest import Manifest

#: One past the highest address of user space, per ``arch``.  x86_64: where the kernel places images
#: whatever the page tables' depth (DEFAULT_MAP_WINDOW, arch/x86/include/asm/page_64_types.h).
ADDRESS_LIMIT = {"x86_64": 1 << 47, "i386": 1 << 32}


def _addresses_exist(manifest: Manifest) -> Iterator[Mismatch]:
    """What the target refers to lies in the architecture's user space."""
    limit = ADDRESS_LIMIT[manifest.arch]
    ends = [
        (f"functions[{i}].ranges[{j}]", code_range.address + code_range.size)
        for i, function in enumerate(manifest.functions)
        for j, code_range in enumerate(function.ranges)
    ]
    ends += [
        (f"functions[{i}].copies[{j}].address", copy.address + 1)
        for i, function in enumerate(manifest.functions)
        for j, copy in enumerate(function.copies)
    ]
    ends += [
        (f"references[{i}].address", reference.address + 1) for i, reference in enumerate(manifest.references)
    ]
    for path, end in ends:
        if end > limit:
            yield Mismatch(path, f"ends at {end:#x}, outside of {manifest.arch} user space")


def _ranges_are_apart(manifest: Manifest) -> Iterator[Mismatch]:
    """No two ranges of the patch share a byte."""
    ranges = sorted(
        (code_range.address, code_range.address + code_range.size, f"functions[{i}].ranges[{j}]")
        for i, function in enumerate(manifest.functions)
        for j, code_range in enumerate(function.ranges)
    )
    for (_, end, before), (start, _, path) in zip(ranges, ranges[1:]):
        if start < end:
            yield Mismatch(path, f"overlaps {before} at {start:#x}")


def _text_relocations_are_inside(manifest: Manifest) -> Iterator[Mismatch]:
    """A text relocation lies in its range and shares no byte with another one."""
    for i, function in enumerate(manifest.functions):
        places = []
        for j, place in enumerate(function.text_relocations):
            path = f"functions[{i}].text_relocations[{j}]"
            end = place.offset + place.size
            if place.range >= len(function.ranges):
                count = len(function.ranges)
                yield Mismatch(f"{path}.range", f"is {place.range}, and the number of ranges is {count}")
            elif end > function.ranges[place.range].size:
                size = function.ranges[place.range].size
                yield Mismatch(path, f"ends {end} bytes into a range of {size} bytes")
            places.append((place.range, place.offset, end, path))
        places.sort()
        for (index, _, end, before), (next_index, start, _, path) in zip(places, places[1:]):
            if index == next_index and start < end:
                yield Mismatch(path, f"overlaps {before}")


def _write_order_is_a_permutation(manifest: Manifest) -> Iterator[Mismatch]:
    """Every function is switched once."""
    if sorted(manifest.write_order) != list(range(len(manifest.functions))):
        yield Mismatch("write_order", f"is not a permutation of 0 to {len(manifest.functions) - 1}")


def _symbols_are_unique(manifest: Manifest) -> Iterator[Mismatch]:
    """A symbol is the new code or the thunk of one function, or one reference."""
    seen: dict[str, str] = {}
    symbols = [(function.symbol, f"functions[{i}].symbol") for i, function in enumerate(manifest.functions)]
    symbols += [
        (function.thunk, f"functions[{i}].thunk")
        for i, function in enumerate(manifest.functions)
        if function.thunk is not None
    ]
    symbols += [
        (reference.symbol, f"references[{i}].symbol") for i, reference in enumerate(manifest.references)
    ]
    for symbol, path in symbols:
        if symbol in seen:
            yield Mismatch(path, f"is {shown(symbol)}, as {seen[symbol]} is")
        seen[symbol] = path


def _references_have_one_home(manifest: Manifest) -> Iterator[Mismatch]:
    """An import is found by its name, everything else by its address."""
    for i, reference in enumerate(manifest.references):
        path = f"references[{i}]"
        if reference.kind == "import" and reference.address != 0:
            yield Mismatch(
                f"{path}.address", f"is {reference.address:#x}; an import has no address, 0 stands for that"
            )
        if reference.kind == "target" and (reference.version is not None or reference.library is not None):
            yield Mismatch(path, "is in the target, and names a version or a library")


def _thunks_are_for_private_conventions(manifest: Manifest) -> Iterator[Mismatch]:
    """A thunk is the way in by a private convention, which has no other, and needs injector 2."""
    for i, function in enumerate(manifest.functions):
        path = f"functions[{i}].thunk"
        if (function.thunk is None) == (function.convention == "private"):
            thunk = "null" if function.thunk is None else shown(function.thunk)
            yield Mismatch(path, f"is {thunk}, and the convention is {function.convention}")
        if function.thunk is not None and manifest.needs_injector < 2:
            yield Mismatch(path, f"is {shown(function.thunk)}, and needs_injector is {manifest.needs_injector}")


#: Rules that JSON Schema can not say, in the order in which they are checked.
RULES = (
    _addresses_exist,
    _ranges_are_apart,
    _text_relocations_are_inside,
    _write_order_is_a_permutation,
    _symbols_are_unique,
    _references_have_one_home,
    _thunks_are_for_private_conventions,
)
