# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""An artifact, told to a person."""

from __future__ import annotations

from typing import Any, Iterator

from ..artifact.file import Artifact

_ways = {"inlined": "an inlined copy of the old code", "clone": "old code, being a clone of it,"}


def headline(artifact: Artifact) -> str:
    """The artifact in a line."""
    manifest = artifact.manifest
    functions = ", ".join(each.name for each in manifest.functions)
    return f"{manifest.name} {manifest.version} for {manifest.target.name} ({manifest.arch}): {functions}"


def summary(artifact: Artifact) -> dict[str, Any]:
    """What a playbook wants to know."""
    return {**artifact.summary(), "size": len(artifact.data)}


def describe(artifact: Artifact) -> Iterator[str]:
    """The artifact, line by line."""
    manifest = artifact.manifest
    yield headline(artifact)
    if manifest.description:
        yield f"  {manifest.description}"
    if manifest.cve:
        yield f"  fixes      {', '.join(manifest.cve)}"
    yield f"  id         {artifact.id}"
    yield f"  target     {manifest.target.name}, build ID {manifest.target.build_id or 'none'}"
    yield f"  built with {manifest.built_with.compiler}; livepatch {manifest.built_with.livepatch}"
    for name in ("requires", "supersedes", "conflicts"):
        for relation in getattr(manifest, name):
            yield f"  {name:<10} {relation.name} {relation.version or '(any version)'}"
    for number, index in enumerate(manifest.write_order, 1):
        function = manifest.functions[index]
        where = ", ".join(f"{each.address:#x}+{each.size}" for each in function.ranges)
        yield f"  {number}. replaces {function.name} ({function.file or 'unknown file'}) at {where}"
        if function.thunk is not None:
            yield f"     through {function.thunk}, which takes calls by its private convention"
        for copy in function.copies:
            yield f"     accepted: {copy.name} goes on running {_ways[copy.kind]} at {copy.address:#x}"
        if function.text_relocations:
            yield f"     with {len(function.text_relocations)} words that the dynamic linker wrote"
    for reference in manifest.references:
        if reference.kind == "target":
            yield f"  uses       {reference.symbol} of the target at {reference.address:#x}"
        elif reference.kind == "ifunc":
            yield f"  uses       {reference.symbol} of the target, what its resolver at {reference.address:#x} chose"
        else:
            version = f"@{reference.version}" if reference.version else ""
            yield f"  uses       {reference.symbol}{version} of {reference.library or 'some library'}"
