# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a plan is made from, collected from a process that runs on."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence

from ..artifact.file import Artifact
from ..elf import Malformed
from ..errors import Refused
from ..loading import place, resolve
from ..loading.memory_map import Mapping, Reserved
from ..process import fitness
from ..process.images import Image
from ..process.snapshot import Snapshot
from ..tracee import tables
from .installed import Installed
from .ledger import Ledger
from .plan import Facts


def the_image(artifact: Artifact, snapshot: Snapshot) -> Image:
    """The one image in the process that the artifact is for.

    :raises Refused: ``x32``, ``target_not_mapped``, ``wrong_architecture``, ``not_supported_yet``
    """
    target = artifact.manifest.target
    images = snapshot.targets(target.build_id, target.text_sha256)
    if not images:
        raise Refused("target_not_mapped", f"process {snapshot.pid} does not map {target.name}")
    if len(images) > 1:
        raise Refused("not_supported_yet", f"process {snapshot.pid} maps {target.name} more than once")
    image = images[0]
    if image.is_x32:
        raise Refused("x32", f"{image.path} is an x32 file")
    check_architecture(artifact, snapshot)
    if image.cpu is not snapshot.cpu:
        raise Refused("wrong_architecture", f"{image.path} is not of the architecture of process {snapshot.pid}")
    if target.build_id is not None and image.text_sha256() not in (None, target.text_sha256):
        raise Refused("code_differs", f"{image.path} has the right build ID and other code than the patch's target")
    return image


def check_architecture(artifact: Artifact, snapshot: Snapshot) -> None:
    """:raises Refused: ``wrong_architecture``"""
    arch = artifact.manifest.arch
    if snapshot.cpu is None or snapshot.cpu.name != arch:
        actual = snapshot.cpu.name if snapshot.cpu else "something else"
        raise Refused("wrong_architecture", f"the patch is for {arch}, process {snapshot.pid} runs {actual}")


def facts(
    artifact: Artifact,
    snapshot: Snapshot,
    image: Image,
    installed: Installed,
    present: Sequence[Ledger],
    before: Sequence[Ledger],
    coroutines: str,
) -> Facts:
    """Everything that a plan is made from.

    :param present: the patches that will be in force by then
    :param before: those of them whose memory is not there yet
    :param coroutines: the parameter
    :raises Refused: what resolving references finds; ``code_differs`` where code can not be read
    """
    cpu = snapshot.cpu
    executable = snapshot.executable
    assert cpu is not None and executable is not None
    taken = [Reserved(address, size) for found in before for address, size in (found.data, found.text)]
    mappings: List[Mapping] = sorted([*snapshot.mappings, *taken], key=lambda mapping: mapping.start)
    return Facts(
        cpu=cpu,
        image_start=image.start,
        bias=image.bias,
        code=_code(artifact, snapshot, image),
        from_file=image.file_bytes,
        has_rule=_rules(snapshot, image),
        symbols=resolve.resolve(artifact, image, snapshot),
        find_gap=lambda layout: place.find_gap(layout, mappings, (image.start, image.end), executable.end),
        present=installed.in_force,
        installed=present,
        retired=installed.retired,
        unproven=fitness.unproven(snapshot, coroutines),
    )


def _code(artifact: Artifact, snapshot: Snapshot, image: Image) -> Dict[int, bytes]:
    assert snapshot.cpu is not None
    code = {}
    for function in artifact.manifest.functions:
        for part in function.ranges:
            address = part.address + image.bias & snapshot.cpu.mask
            try:
                code[part.address] = snapshot.memory.read(address, part.size)
            except ProcessLookupError:
                raise
            except OSError as error:
                raise Refused(
                    "code_differs", f"{function.name} can not be read at {address:#x}: {error.strerror}"
                ) from error
    return code


def _rules(snapshot: Snapshot, image: Image) -> Callable[[int], bool]:
    """Whether the image's unwind tables know a link-time address."""
    assert snapshot.cpu is not None
    cpu = snapshot.cpu
    locate = tables.of_image(cpu, image)

    def has_rule(address: int) -> bool:
        try:
            located = locate()
            if located is None:
                return False
            pc = address + image.bias - located.bias & cpu.mask
            row: Optional[object] = located.table.row(pc)
            return row is not None
        except Malformed:
            return False

    return has_rule
