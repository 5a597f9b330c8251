# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Take a patch out of a process, and free its memory when nothing leads there."""

from __future__ import annotations

import hashlib
import time
from typing import Callable, List, Optional, Sequence, Tuple

from ..errors import Busy, LivepatchError, Refused
from ..loading import load
from ..process.snapshot import Snapshot
from ..tracee.check import Watched
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee
from . import ledger, switch
from .ledger import Ledger, Site
from .plan import Jump
from .switch import Switch

# Looking through the memory happens in a stop.  Where it takes longer than this
# while the process runs, it is not done, and the memory stays.
_SEARCH_S = 0.010
_COLLECT = Patience(seconds=2.0, attempts=8, stop=0.050)


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
        here = tracee_read(site.address, len(site.new_bytes))
        if here != site.new_bytes:
            raise Refused(
                "code_differs", f"at {site.name} stands {here.hex()} instead of the jump {site.new} of {found.title}"
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
    try:
        return switch.perform(
            tracee,
            Switch(
                jumps=backwards(found),
                watched=[new_code(found)],
                ledger_address=found.data[0],
                during=ledger.REVERTING,
                after=ledger.RETIRED,
            ),
            patience,
            between,
        )
    except LivepatchError as error:
        if error.status != "stranded":
            switch.set_state(tracee, found.data[0], ledger.APPLIED)
        raise


def put_back(tracee: Tracee, found: Ledger, patience: Patience, between: Callable[[], None]) -> None:
    """The way back from :func:`take_out`: jump into the patch again (``all_or_nothing``).

    :raises Busy, Refused, RolledBack, Stranded: as switch.perform; the patch is retired
    """
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
                during=ledger.SWITCHING,
                after=ledger.APPLIED,
            ),
            patience,
            between,
        )
    except LivepatchError as error:
        if error.status != "stranded":
            switch.set_state(tracee, found.data[0], ledger.RETIRED)
        raise


def forward(site: Site) -> Jump:
    return Jump(site.name, site.address, site.old_bytes, site.new_bytes)


def backwards(found: Ledger) -> List[Jump]:
    """Old bytes over jumps, the last jump first: every prefix of that is safe, too."""
    return [Jump(site.name, site.address, site.new_bytes, site.old_bytes) for site in reversed(found.record.sites)]


def new_code(found: Ledger) -> Watched:
    return Watched(found.text[0], found.text[0] + found.text[1], f"the new code of {found.title}")


def collect(tracee: Tracee, found: Ledger, between: Callable[[], None]) -> str:
    """Free the memory of a patch whose code is out of use, if nothing leads there.

    :returns: why it was kept; "" when it was freed
    """
    wanted = tracee.wanted(found.text, found.data, found.record.eh_frame)
    begin = time.monotonic()
    tracee.find_reference(wanted)  # also brings caches up to date
    if time.monotonic() - begin > _SEARCH_S:
        return "its memory is kept: the process is too large to be searched for pointers into it in a short stop"

    def still() -> Optional[Busy]:
        reference = tracee.find_reference(wanted)
        if reference is None:
            return None
        return Busy("still_referenced", f"the word at {reference[0]:#x} leads to {reference[1]:#x} in its memory")

    try:
        tracee.at_safe_point([new_code(found)], still, lambda: None, _COLLECT, between)
    except Busy as busy:
        return f"its memory is kept: {busy.what}"
    unload(tracee, found)
    return ""


def unload(tracee: Tracee, found: Ledger) -> None:
    """Unmap text, then data with the ledger: until the last step a recover finds what is left."""
    with tracee.hold(load.UNLOAD_CALLS) as hold:
        load.unload(hold, found.text, found.data)


def file_reader(snapshot: Snapshot) -> Callable[[Ledger, int, int], Optional[bytes]]:
    """What ``from_file`` above asks: the target file's bytes by address in the process."""

    def read(found: Ledger, address: int, size: int) -> Optional[bytes]:
        image = snapshot.image_at(found.record.image_start)
        return None if image is None else image.file_bytes(address - image.bias, size)

    return read
