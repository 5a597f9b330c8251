# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""JSON as the formats of this collection use it: one way to read every document.

RFC 8259 leaves open what a repeated key or a huge number means, so two readers
could see two documents in the same bytes.  Those are refused here.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .shapes import Mismatch, shown

_DIGITS = 20  # of 2**64 - 1; int() of a longer text takes quadratic time before Python 3.11


def loads(data: bytes) -> Any:
    """The document in ``data``: UTF-8 without byte order mark, whole numbers only, no key twice.

    :raises Mismatch: it is anything else
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except UnicodeDecodeError as error:
        raise Mismatch("", f"is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Mismatch("", f"is not JSON at character {error.pos}: {error.msg}") from error
    except RecursionError as error:
        raise Mismatch("", "is nested too deeply") from error


def dumps(document: Any) -> bytes:
    """The one way to write a document: sorted keys, separators ``,`` and ``:``, UTF-8, no end of line."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise Mismatch("", f"has the key {shown(name)} twice in one object")
        document[name] = value
    return document


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise Mismatch("", f"has a number of {len(text)} digits")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise Mismatch("", f"has the number {shown(text)}, which is not whole")
