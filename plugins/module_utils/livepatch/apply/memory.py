# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Free a patch's memory: at once where nothing ever led there, else when nothing does any more."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

from ..errors import Busy, Refused
from ..loading import load
from ..tracee.references import TooLarge
from ..tracee.stop import StoppedThread
from ..tracee.tracee import Patience, Tracee
from . import layers, ledger, switch
from .installed import code_at
from .ledger import Ledger

_TOO_LARGE = "its memory is kept: the process is too large to be searched for pointers into it in a short stop"
_PATIENCE = Patience(seconds=2.0, attempts=8, stop=0.050)


def collect(tracee: Tracee, found: Ledger, between: Callable[[], None], coroutines: str = "search") -> str:
    """Free the memory of a patch whose code is out of use, if nothing leads there.

    :param coroutines: "auto": a strict switch in this mode has just seen that no coroutine is inside.  After
        any other one may be, in a process that shows no sign of having any: then "search"
    :returns: why it was kept; "" when it was freed
    :raises LivepatchError: it could not be freed
    """
    switch.claim(tracee, [(found, ledger.RETIRED)])
    for site in found.record.sites:
        if code_at(tracee.memory.read, site) == site.new_bytes:
            return f"its memory is kept: the jump at {site.name} leads there"
    begins = found.text[0]
    if not any(each.start <= begins < each.end and each.executable for each in tracee.mappings()):
        free(tracee, found, ledger.RETIRED)  # an earlier one had come that far
        return ""
    if found.record.keeps_code:
        return "its memory is kept: the patch makes pointers to its functions, and not all of them can be searched for"
    wanted = tracee.wanted(found.text, found.data, found.record.eh_frame)
    try:
        tracee.find_reference(wanted)  # while it runs: only to see that there is not too much of it
    except TooLarge:
        return _TOO_LARGE

    def still(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        reference = tracee.find_reference(wanted, threads)
        return None if reference is None else Busy("still_referenced", reference)

    patience = _PATIENCE._replace(coroutines=coroutines)
    try:
        tracee.at_safe_point(layers.watched([], [found], []), still, lambda: None, patience, between)
    except TooLarge:
        return _TOO_LARGE
    except (Busy, Refused) as error:
        if isinstance(error, Busy) or error.reason == "coroutines_unsupported":
            return f"its memory is kept: {error.what}"
        raise
    free(tracee, found, ledger.RETIRED)
    return ""


def free(tracee: Tracee, found: Ledger, state: int) -> None:
    """Unmap text, then data with the ledger: until the last step a recover finds what is left.

    What an injector that died has unmapped, or not mapped yet, may be somebody
    else's memory by now: the memory map has the last word.

    :param state: that the ledger must have
    :raises LivepatchError, OSError: it could not be freed
    """
    switch.claim(tracee, [(found, state)])
    ours = [text for text in [found.text] if load.is_text(tracee.mappings(), text)]
    with tracee.hold(load.UNLOAD_CALLS) as hold:
        load.unload(hold, ours, found.data)
