# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file written by hand can not change: layouts, types, data; refused with names and lines of both sides."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from livepatch.cpu import Cpu
from tests.harness.workshop import MAIN, Workshop
from tests.harness.workshop import refused as workshop_refused

SHOP = """
struct shop {
    int open;
    %s price;
};
enum day { MONDAY, %s SUNDAY };
"""
UNITS = {
    "unit.c": '#include "../h/shop.h"\nint prices[4]; const int limit = 7;\n'
    "int work(struct shop *shop, enum day day) { return shop->price + day + prices[day] + limit; }",
    "stock.c": '#include "../h/stock.h"\nstruct stock stock; int count(struct stock *s) { return s->left; }\n'
    "__thread int mine = 3; int own(void) { return mine; }",
    "main.c": MAIN,
}
WORK = "int work(struct shop *shop, enum day day) { return shop->price - day; }\n"
STOCK = "struct shelf { %s place; };\nstruct stock { int left; struct shelf *shelf; };\n"


@pytest.fixture(params=["gcc", "clang"])
def workshop(request: pytest.FixtureRequest, tmp_path: Path, cpu: Cpu) -> Workshop:
    """Makes programs of units that include headers in a folder ``h`` beside theirs."""
    shop = Workshop(tmp_path / "shop", cpu, ("-fno-pie", "-O0"), ("-no-pie",), request.param)
    (shop.folder / "h").mkdir()
    return shop


def patch(
    workshop: Workshop, text: str, shop: str = SHOP % ("int", ""), stock: str = STOCK % "int"
) -> BuildRequest:
    """The target's headers as they were, the patch file's as given."""
    headers = workshop.folder / "h"
    (headers / "shop.h").write_text(SHOP % ("int", ""))
    (headers / "stock.h").write_text(STOCK % "int")
    request = workshop.by_hand(UNITS, text)
    (headers / "shop.h").write_text(shop)
    (headers / "stock.h").write_text(stock)
    return request


def refused(reason: str, request: BuildRequest, *words: str) -> None:
    workshop_refused(reason, functools.partial(pipeline.build, request), *words)


INCLUDE = '#include "h/shop.h"\n'


def test_a_member_of_another_type_is_named_with_both_lines(workshop: Workshop) -> None:
    assert pipeline.build(patch(workshop, INCLUDE + WORK))
    wide = patch(workshop, INCLUDE + WORK, "\n" + SHOP % ("long long", ""))
    refused(
        "layout_changed", wide,
        "struct shop (shop.h:2 in the target, shop.h:3 here): price: int became long long int",
    )  # fmt: skip


def test_an_enumerator_in_between_is_named_with_both_lines(workshop: Workshop) -> None:
    more = patch(workshop, INCLUDE + WORK, SHOP % ("int", "TUESDAY,"))
    refused(
        "layout_changed",
        more,
        "enum day (shop.h:6 in the target, shop.h:6 here): SUNDAY = 1 became TUESDAY = 1",
    )


def test_a_layout_counts_in_the_unit_of_what_is_referred_to(workshop: Workshop) -> None:
    text = '#include "h/stock.h"\n' + INCLUDE + "extern struct stock stock; int count(struct stock *);\n"
    text += WORK.replace("shop->price", "%s")
    use = "stock.shelf->place", "count(0)"
    for each in use:
        assert pipeline.build(patch(workshop, text % each))
        other = patch(workshop, text % each, stock=STOCK % "char")
        refused(
            "layout_changed",
            other,
            "struct shelf (stock.h:1 in the target, stock.h:1 here): place: int became char",
        )


def test_data_that_exists_can_not_be_defined_anew(workshop: Workshop) -> None:
    for text, words in (
        ("int prices[4] = {1, 2, 3, 4};\n", ("prices of unit.c", ".c:2")),
        ("const int limit = 8;\n", ("limit of unit.c", ".c:2")),
    ):
        refused("data_changed", patch(workshop, INCLUDE + text + WORK), *words, "extern")
    warned = pipeline.make(
        patch(workshop, INCLUDE + "static int prices[4]; " + WORK.replace("- day", "+ prices[day]++"))
    )
    assert any("prices is new" in each for each in warned.warnings)


@pytest.mark.parametrize(
    "declared, kind",
    [("extern const int prices[4]", "const int[4]"), ("extern unsigned prices[]", "unsigned int[]"),
     ("extern int prices[3]", "int[3]"), ("extern int limit", "int")],
)  # fmt: skip
def test_a_declaration_of_another_type_is_refused(workshop: Workshop, declared: str, kind: str) -> None:
    name = "limit" if "limit" in declared else "prices[day]"
    text = INCLUDE + f"{declared};\n" + WORK.replace("- day", "+ " + name)
    refused("prototype_differs", patch(workshop, text), "(unit.c:2)", f"{kind} in the patch")


def test_an_array_may_be_declared_without_its_length(workshop: Workshop) -> None:
    text = (
        INCLUDE
        + "extern int prices[]; extern const int limit;\n"
        + WORK.replace("- day", "+ prices[day] + limit")
    )
    assert pipeline.build(patch(workshop, text))


def test_a_prototype_is_told_with_both_lines(workshop: Workshop) -> None:
    refused(
        "prototype_differs", patch(workshop, "long long work(int x) { return x; }"), "(unit.c:3)", ".c:1)"
    )


def test_thread_local_data_is_refused(workshop: Workshop) -> None:
    for text in ("extern __thread int mine;\n", "static __thread int mine;\n"):
        refused(
            "unsupported_relocation",
            patch(workshop, INCLUDE + text + WORK.replace("- day", "+ mine++")),
            "mine",
        )


def test_what_a_unit_declares_and_never_defines_is_its_own(workshop: Workshop) -> None:
    text = (
        INCLUDE
        + "struct basket { int eggs; }; static struct basket basket;\n"
        + WORK.replace("- day", "+ basket.eggs++")
    )
    assert pipeline.build(patch(workshop, text))


def test_cplusplus_without_exceptions_is_as_good_as_c(tmp_path: Path, cpu: Cpu) -> None:
    shop = Workshop(tmp_path / "plain", cpu, ("-fno-pie",), ("-no-pie",))
    text = 'extern "C" { int g(int); int work(int); int work(int x) { return g(x) %s 1; } }'
    units = [shop.object("int g(int x) { return x * 2; }", name="g.c"), shop.object(MAIN, name="main.c")]
    for flags in ((), ("-fno-exceptions",)):
        old, new = (shop.object(text % sign, *flags, name="unit.cc") for sign in "+-")
        request = BuildRequest(
            str(shop.link(old, *units)), "fix", "1", old_objects=[str(old)], new_objects=[str(new)]
        )
        if flags:
            assert pipeline.build(request)
        else:
            refused("throws_through", request)
