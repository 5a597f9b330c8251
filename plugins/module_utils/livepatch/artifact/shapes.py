# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a JSON value may look like: one definition, two uses.

A shape can say itself as JSON Schema (``schema``) and can read a value on a
host that has no jsonschema (``read``).  Both come from the same numbers and
patterns, so both accept and refuse the same documents.  A record's shape is a
frozen dataclass whose fields carry :func:`key`; what is read is its instance.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Mapping, NamedTuple, Protocol

#: Characters that could deceive who reads a report or break a line of a log:
#: controls, surrogates (they are no UTF-8), line separators, direction changes.
UNPRINTABLE = r"[\u0000-\u001f\u007f-\u009f\ud800-\udfff\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
_SHOWN = 60  # characters of a refused value that a message repeats


class Mismatch(ValueError):
    """A value that does not have the shape it should have.

    :param path: where, as ``functions[0].ranges[1].size``; empty for the whole document
    :param problem: what is wrong there, as the rest of a sentence
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path or 'the document'} {problem}")


class Shape(Protocol):
    """The set of values that one key may have."""

    def schema(self) -> dict[str, Any]:
        """This shape as a JSON Schema (draft 2020-12)."""

    def read(self, value: Any, path: str) -> Any:
        """The value as Python holds it.

        :param value: what ``json.loads`` gave
        :raises Mismatch: it does not have this shape
        """


class Text(NamedTuple):
    """A string of ``minimum`` to ``maximum`` printable characters that matches the whole ``pattern``."""

    maximum: int
    minimum: int = 1
    pattern: str = ""

    def schema(self) -> dict[str, Any]:
        # The characters stand in a "not": an anchored pattern of allowed ones
        # would let a final newline through where "$" is Python's.
        schema: dict[str, Any] = {"type": "string", "not": {"pattern": UNPRINTABLE}}
        schema.update(minLength=self.minimum, maxLength=self.maximum)
        if self.pattern:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema

    def read(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise Mismatch(path, f"is {shown(value)}, not a string")
        if not self.minimum <= len(value) <= self.maximum:
            raise Mismatch(path, f"has {len(value)} characters, not {self.minimum} to {self.maximum}")
        # Compiling the pattern takes longer than reading a manifest, and most text is ASCII.
        found = None if value.isascii() and value.isprintable() else re.search(UNPRINTABLE, value)
        if found:
            raise Mismatch(path, f"has the unprintable character U+{ord(found.group()):04X}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise Mismatch(path, f"is {shown(value)}, which does not match {self.pattern}")
        return value


class Integer(NamedTuple):
    """A whole number, bounds included."""

    minimum: int
    maximum: int

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def read(self, value: Any, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mismatch(path, f"is {shown(value)}, not a whole number")
        if not self.minimum <= value <= self.maximum:
            raise Mismatch(path, f"is {shown(value)}, not {self.minimum} to {self.maximum}")
        return value


class Boolean:
    """``true`` or ``false``."""

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def read(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise Mismatch(path, f"is {shown(value)}, not true or false")
        return value


class Choice(NamedTuple):
    """One of a few words."""

    words: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}

    def read(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise Mismatch(path, f"is {shown(value)}, not {' or '.join(self.words)}")
        return value


class Nullable(NamedTuple):
    """``null``, or what ``shape`` allows."""

    shape: Shape

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "null"}, self.shape.schema()]}

    def read(self, value: Any, path: str) -> Any:
        return None if value is None else self.shape.read(value, path)


class Array(NamedTuple):
    """``minimum`` to ``maximum`` items of one shape; ``unique``: no two are equal.  Read as a tuple."""

    item: Shape
    maximum: int
    minimum: int = 0
    unique: bool = False

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.minimum,
            "maxItems": self.maximum,
            "uniqueItems": self.unique,
        }

    def read(self, value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Mismatch(path, f"is {shown(value)}, not a list")
        if not self.minimum <= len(value) <= self.maximum:
            raise Mismatch(path, f"has {len(value)} items, not {self.minimum} to {self.maximum}")
        items = tuple(self.item.read(item, f"{path}[{index}]") for index, item in enumerate(value))
        if self.unique and len(set(items)) != len(items):
            raise Mismatch(path, "names the same item twice")
        return items


class Record(NamedTuple):
    """An object with exactly the keys that a dataclass has as fields.  Read as its instance."""

    of: Any  # a frozen dataclass, each field made with key()

    def schema(self) -> dict[str, Any]:
        properties = {}
        for field in dataclasses.fields(self.of):
            properties[field.name] = {
                "description": field.metadata["meaning"],
                **field.metadata["shape"].schema(),
            }
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }

    def read(self, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(path, f"is {shown(value)}, not an object")
        fields = dataclasses.fields(self.of)
        names = {field.name for field in fields}
        for name in sorted(set(value) - names):
            raise Mismatch(path, f"has the unknown key {shown(name)}")
        for name in sorted(names - set(value)):
            raise Mismatch(path, f"lacks the key {name}")
        prefix = f"{path}." if path else ""
        return self.of(
            **{
                field.name: field.metadata["shape"].read(value[field.name], prefix + field.name)
                for field in fields
            }
        )


def key(shape: Shape, meaning: str) -> Mapping[str, Any]:
    """The metadata of a dataclass field that is a key of a JSON object."""
    return {"shape": shape, "meaning": meaning}


def shown(value: Any) -> str:
    """A value as a message may repeat it: ASCII, one line, short."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
