# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that compilers make from names in the source."""

from __future__ import annotations

import pytest

from livepatch.build import names


@pytest.mark.parametrize(
    "name, source, kinds",
    [
        ("work", "work", ()),
        ("work.cold", "work", ()),
        ("work.part.0", "work", ("part",)),
        ("work.constprop.3.isra.0", "work", ("constprop", "isra")),
        ("work.part.0.cold", "work", ("part",)),
        ("work.lto_priv.7", "work", ("lto_priv",)),
        ("count.12", "count", ()),
        ("partial", "partial", ()),
    ],
)
def test_a_name_tells_its_source_and_its_clones(name: str, source: str, kinds: tuple[str, ...]) -> None:
    assert names.source_name(name) == source
    assert names.clone_kinds(name) == kinds


def test_numbers_are_counted_anew_for_every_build() -> None:
    assert names.without_numbers("f.part.0") == names.without_numbers("f.part.1") == "f.part"
    assert names.without_numbers("f.part.0") != names.without_numbers("f.isra.0")
    assert names.without_numbers("count.0") == names.without_numbers("count.31") == "count"


def test_the_unlikely_half_belongs_to_its_function() -> None:
    assert names.hot_part("f.part.0.cold") == "f.part.0"
    assert names.hot_part("f") is None and names.hot_part("cold") is None


@pytest.mark.parametrize("name", [".LC3", "__func__.1", "__PRETTY_FUNCTION__.0", "CSWTCH.12", "C.4"])
def test_constants_that_the_compiler_made_are_known_by_content(name: str) -> None:
    assert names.is_anonymous(name)


@pytest.mark.parametrize("name", ["table", "table.3", "Cache", "C_table"])
def test_constants_of_the_source_are_known_by_name(name: str) -> None:
    assert not names.is_anonymous(name)
