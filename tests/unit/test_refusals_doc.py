# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of reasons: every word that the code says is in it, every word in it is said, and the page is current."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from livepatch import errors
from livepatch.errors import REASONS, LivepatchError
from livepatch.report import STATUSES

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("Refused", "Busy", "RolledBack", "Stranded", "Interrupted")


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("refusals", REPOSITORY / "tools" / "refusals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text() == generator.page(), "run tools/refusals.py"


def test_the_page_has_every_reason_once(generator):
    words = [word for group in generator.groups().values() for word in group]
    assert words == list(REASONS)
    assert [
        word for word in words if generator.page().count(f"| `{word}` |") != 1 and word not in STATUSES
    ] == []


@pytest.mark.parametrize("word", REASONS)
def test_a_reason_is_a_word_a_sentence_and_a_remedy(word):
    meaning, remedy = REASONS[word]
    assert re.fullmatch("[a-z][a-z0-9_]*", word)
    assert meaning[0].isupper() and meaning.endswith(".")
    assert not remedy or (remedy[0].isupper() and remedy.endswith("."))
    assert "|" not in meaning + remedy  # it would end the cell


def test_every_kind_of_error_has_a_status_with_an_exit_code():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LivepatchError)
    ]
    assert {kind.__name__ for kind in kinds} == {"LivepatchError", *KINDS}
    assert all(STATUSES[kind.status] for kind in kinds if kind is not LivepatchError)


def raised() -> Iterator[tuple[str, ast.expr, ast.Module]]:
    """Every call that makes one of our errors: where, its first argument, and the module."""
    for path in sorted((REPOSITORY / "plugins").rglob("*.py")):
        module = ast.parse(path.read_text())
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) in KINDS
            ):
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", node.args[0], module


def words_of(expression: ast.expr, module: ast.Module) -> set[str]:
    """The words that an expression can be; nothing where another error's reason is passed on.

    A variable can be what the module assigns to that name, or passes for it as the last argument.
    """
    if isinstance(expression, ast.Constant):
        return {expression.value}
    if isinstance(expression, ast.IfExp):
        return words_of(expression.body, module) | words_of(expression.orelse, module)
    if isinstance(expression, ast.Attribute) and expression.attr == "reason":
        return set()
    if isinstance(expression, ast.Name):
        found: set[str] = set()
        for node in ast.walk(module):
            if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == [
                expression.id
            ]:
                found |= words_of(node.value, module)
        for node in ast.walk(module):
            if (
                isinstance(node, ast.FunctionDef)
                and node.args.args
                and node.args.args[-1].arg == expression.id
            ):
                for call in ast.walk(module):
                    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == node.name:
                        found |= words_of(call.args[-1], module)
        if found:
            return found
    pytest.fail(f"line {expression.lineno}: can not tell which reasons {ast.unparse(expression)} can be")


def test_the_code_says_the_words_of_the_table_and_no_others():
    said: dict[str, str] = {}
    for where, expression, module in raised():
        for word in words_of(expression, module):
            said.setdefault(word, where)
    assert {word: where for word, where in said.items() if word not in REASONS} == {}
    assert [word for word in REASONS if word not in said] == []


def test_a_word_that_is_not_in_the_table_is_a_fault_at_once():
    with pytest.raises(KeyError):
        errors.Refused("no_such_reason", "what")


def test_a_message_says_what_happened_then_what_to_do():
    refusal = errors.Refused("x32", "/bin/daemon is an x32 file.")
    assert str(refusal) == refusal.message == f"/bin/daemon is an x32 file. {REASONS['x32'].remedy}"
    assert errors.Refused("kernel_thread", "process 2 is one").message == "process 2 is one"
