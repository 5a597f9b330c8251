# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Take a patch out of a process; its memory is freed by :mod:`memory`."""

from __future__ import annotations

import hashlib
from typing import Callable, List, Optional, Sequence, Tuple

from ..errors import Gone, LivepatchError, Refused, Stranded
from ..process.snapshot import Snapshot
from ..tracee.check import Watched
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee
from . import ledger, memory, switch
from .installed import code_at
from .ledger import Ledger, Site
from .plan import Jump
from .switch import Switch


def check_possible(found: Ledger, others: Sequence[Ledger]) -> None:
    """:raises Refused: ``needed_by``: another patch requires this one"""
    for other in others:
        for relation in other.record.requires:
            if relation["name"] == found.record.name and relation["version"] in (None, found.record.version):
                raise Refused("needed_by", f"{other.title} requires {found.title}")


def check_standing(tracee_read: Callable[[int, int], bytes], found: Ledger,
                   from_file: Callable[[Ledger, int, int], Optional[bytes]]) -> None:
    """The jumps that the ledger tells of stand, and the bytes that it would put back are the right ones.

    :param from_file: (ledger, address in the process, size) -> the target file's bytes there
    :raises Refused: ``code_differs``
    """
    for site in found.record.sites:
        here = code_at(tracee_read, site)
        if here != site.new_bytes:
            raise Refused(
                "code_differs",
                f"at {site.name} stands {here.hex() or 'nothing'} instead of the jump {site.new} of {found.title}",
            )
        check_old_bytes(tracee_read, found, site, from_file)


def check_old_bytes(tracee_read: Callable[[int, int], bytes], found: Ledger, site: Site,
                    from_file: Callable[[Ledger, int, int], Optional[bytes]]) -> None:
    """With its old bytes put back, the function has the hash that the patch's manifest promised.

    :raises Refused: ``code_differs``
    """
    part = site.ranges[0]
    start = part["address"]
    code = bytearray(tracee_read(start, part["size"]))
    at = site.address - start
    code[at : at + len(site.old_bytes)] = site.old_bytes
    for place in site.text_relocations:
        if place["range"] == 0:
            original = from_file(found, start + place["offset"], place["size"])
            if original is None:
                raise Refused("code_differs", f"{site.name} has text relocations, and the target file can not be read")
            code[place["offset"] : place["offset"] + place["size"]] = original
    if hashlib.sha256(code).hexdigest() != part["sha256"]:
        raise Refused("code_differs", f"{site.name} with its old bytes put back is not the function that was patched")


def take_out(tracee: Tracee, found: Ledger, patience: Patience, between: Callable[[], None]) -> Tuple[Outcome, int]:
    """Make the old code run again; the memory stays, in state ``retired``.

    :raises Busy, Refused, RolledBack, Stranded: as switch.perform; the patch is in the process as before
    """
    switch.claim(tracee, found, ledger.APPLIED)
    try:
        return switch.perform(
            tracee,
            Switch(
                jumps=backwards(found),
                watched=[memory.new_code(found)],
                ledger_address=found.data[0],
                during=ledger.REVERTING,
                after=ledger.RETIRED,
            ),
            patience,
            between,
        )
    except (LivepatchError, Gone, OSError) as error:
        if not isinstance(error, Stranded):
            switch.withdraw(tracee, found.data[0], ledger.REVERTING, ledger.APPLIED)
        raise


def put_back(tracee: Tracee, found: Ledger, patience: Patience, between: Callable[[], None]) -> None:
    """The way back from :func:`take_out`: jump into the patch again (``all_or_nothing``).

    :raises Busy, Refused, RolledBack, Stranded: as switch.perform; the patch is retired
    """
    switch.claim(tracee, found, ledger.RETIRED)
    try:
        switch.perform(
            tracee,
            Switch(
                jumps=[forward(site) for site in found.record.sites],
                watched=[
                    Watched(part["address"], part["address"] + part["size"], site.name)
                    for site in found.record.sites
                    for part in site.ranges
                ],
                ledger_address=found.data[0],
                during=ledger.REVERTING,  # threads have been in there: recover must not free it unseen
                after=ledger.APPLIED,
            ),
            patience,
            between,
        )
    except (LivepatchError, Gone, OSError) as error:
        if not isinstance(error, Stranded):
            switch.withdraw(tracee, found.data[0], ledger.REVERTING, ledger.RETIRED)
        raise


def forward(site: Site) -> Jump:
    return Jump(site.name, site.address, site.old_bytes, site.new_bytes)


def backwards(found: Ledger) -> List[Jump]:
    """Old bytes over jumps, the last jump first: every prefix of that is safe, too."""
    return [Jump(site.name, site.address, site.new_bytes, site.old_bytes) for site in reversed(found.record.sites)]


def file_reader(snapshot: Snapshot) -> Callable[[Ledger, int, int], Optional[bytes]]:
    """What ``from_file`` above asks: the target file's bytes by address in the process."""

    def read(found: Ledger, address: int, size: int) -> Optional[bytes]:
        image = snapshot.image_at(found.record.image_start)
        return None if image is None else image.file_bytes(address - image.bias, size)

    return read
