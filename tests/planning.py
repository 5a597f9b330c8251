# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts for the planner, made by hand: a target that is bytes, and a process that maps it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from typing import Any

import pytest

from livepatch.apply import ledger, plan
from livepatch.apply.plan import Facts, Stamp, Terms
from livepatch.artifact import file as artifact_file
from livepatch.cpu import Cpu
from livepatch.errors import Refused
from tests import artifacts

# What the manifest of tests/artifacts.py says about its target: check() with a cold part, and answer().
CHECK, COLD, ANSWER = 0x1240, 0x1100, 0x12A0
# The object of tests/artifacts.py is not position-independent: it wants to stand below 2 GiB.
BIAS = {"x86_64": 0x1000_0000, "i386": 0x5655_5000}
GAP = {"x86_64": (0x1012_0000, 0x1011_0000), "i386": (0x5667_0000, 0x5666_0000)}  # text, data
STAMP = Stamp("uid 0", "2026-11-22T16:32:00Z", "for a test")


class Target:
    """A target made of bytes: its file, and a process that maps it.

    :ivar memory: link-time address of each range -> what stands there in the process
    """

    def __init__(self, cpu: Cpu) -> None:
        self.cpu = cpu
        self.document = artifacts.document(cpu.name)
        self.document["requires"] = []
        self.document["write_order"] = [0, 1]
        self.file = {CHECK: bytes_of_code(96), COLD: bytes_of_code(16), ANSWER: bytes_of_code(32)}
        self.memory: dict[int, bytes] = {}
        self.settle()

    def settle(self) -> None:
        """Manifest and memory as they are for this file, relocations not yet done."""
        for function in self.document["functions"]:
            for part in function["ranges"]:
                content = self.file[part["address"]]
                part.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        self.memory = dict(self.file)

    def write(self, address: int, at: int, content: bytes) -> None:
        """Change what the process has in memory."""
        code = bytearray(self.memory[address])
        code[at : at + len(content)] = content
        self.memory[address] = bytes(code)

    def from_file(self, address: int, size: int) -> bytes | None:
        for start, content in self.file.items():
            if start <= address and address + size <= start + len(content):
                return content[address - start :][:size]
        return None

    def facts(self, **changes: Any) -> Facts:
        bias = BIAS[self.cpu.name]
        changes.setdefault("present", changes.get("installed", []))
        facts = Facts(
            cpu=self.cpu,
            image_start=bias,
            bias=bias,
            code=self.memory,
            from_file=self.from_file,
            has_rule=lambda address: True,
            symbols={"limit": bias + 0x4010, "helper": bias + 0x1400, "printf": bias + 0x10_0000},
            find_gap=lambda layout: GAP[self.cpu.name],
            present=[],
            installed=[],
            retired=[],
            unproven=("function_on_stack",),
        )
        return dataclasses.replace(facts, **changes)

    def artifact(self) -> artifact_file.Artifact:
        return artifact_file.parse(artifacts.artifact(self.cpu.name, self.document))

    def plan(self, terms: Terms = Terms(), **changes: Any) -> plan.Plan:  # noqa: B008
        return plan.make(self.artifact(), self.facts(**changes), STAMP, terms)

    def refusal(self, *terms: Terms, **changes: Any) -> tuple[str, str]:
        """The reason, and what is said beside it."""
        with pytest.raises(Refused) as caught:
            self.plan(*terms, **changes)
        return caught.value.reason, caught.value.what


def bytes_of_code(size: int) -> bytes:
    """Bytes that nobody mistakes for others: no two runs of eight are equal."""
    return bytes(itertools.islice(itertools.chain(b"\x55\x89\xe5", itertools.cycle(range(1, 251))), size))


def ours(target: Target, **changes: Any) -> ledger.Ledger:
    """A ledger of another patch, which replaced other functions of this target, changed as asked."""
    site = ledger.Site(
        "elsewhere",
        "",
        BIAS[target.cpu.name] + 0x9000,
        "90" * 5,
        "e9" + "00" * 4,
        0x1000,
        [{"address": BIAS[target.cpu.name] + 0x9000, "size": 64, "sha256": "00" * 32}],
        [],
    )
    record = ledger.Record(
        artifact="ee" * 32,
        name="neighbour",
        version="3",
        target={"build_id": None, "text_sha256": "00" * 32, "name": "libdaemon.so.1.2"},
        image_start=BIAS[target.cpu.name],
        sites=[site],
        eh_frame=(0, 0),
        keeps_code=False,
        by="uid 0",
        at="2026-11-22T16:00:00Z",
        comment="",
    )
    return ledger.Ledger(ledger.APPLIED, (0x3000, 0x1000), (0x2000, 0x1000), dataclasses.replace(record, **changes))
