# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""States that go wrong once in a lifetime: a process of bytes, and ledgers in it."""

from __future__ import annotations

import errno

import pytest

from livepatch.apply import ledger, recover, switch
from livepatch.apply.installed import Installed
from livepatch.apply.layers import Jump
from livepatch.apply.ledger import Ledger, Record, Site
from livepatch.apply.switch import Change, Switch
from livepatch.errors import LivepatchError
from livepatch.tracee.tracee import Patience

F, G = 0x1000, 0x1100
CODE = b"\x90" * 5
PATIENCE = Patience(1.0, 1, 0.05)


def patch(order: int, function: int, data: int, state: int, displaced: tuple[int, ...] = ()) -> Ledger:
    ranges = [{"address": function, "size": 0x80, "sha256": "00" * 32}]
    jump = b"\xe9" + bytes([order, 0, 0, 0])
    site = Site("f", "", function, CODE.hex(), jump.hex(), data + 0x8000, ranges, [])
    record = Record(
        "ee" * 32, f"fix-{order}", "1", {"build_id": None, "text_sha256": "00" * 32, "name": "it"}, 0, [site], (0, 0),
        False, "", "", "", order=order, displaced=list(displaced),
    )  # fmt: skip
    return ledger.encoded(Ledger(state, (data + 0x8000, 0x1000), (data, 0x1000), record))


class Process:
    """Stands still all the time; nothing can be written to ``broken`` once it is set."""

    pid = 1

    def __init__(self, *found: Ledger) -> None:
        self.bytes: dict[int, int] = {}
        self.memory = self
        self.broken: int | None = None
        for address in (F, G):
            self.write(address, CODE)
        for each in found:
            self.write(each.data[0], each.raw)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[each] for each in range(address, address + size))

    def write(self, address: int, data: bytes) -> None:
        if address == self.broken:
            raise OSError(errno.EIO, "broken")
        self.bytes.update(enumerate(data, address))

    write_code = write

    def touch_code(self, address: int) -> None:
        pass

    def claim(self) -> None:
        pass

    def at_safe_point(self, watched, still, commit, patience, between):
        assert still(()) is None
        commit()
        return None, 1

    def state_of(self, found: Ledger) -> int:
        return int.from_bytes(self.read(found.data[0] + ledger.STATE_OFFSET, 4), "little")


def test_one_that_stands_where_a_displaced_one_stood_is_not_taken_for_it():
    """`first` was displaced and freed, `third` came to its place; who took that in turn died at its last step."""
    second = patch(2, F, 0x20000, ledger.APPLIED, displaced=(0x10000,))
    third = patch(3, G, 0x10000, ledger.REPLACING)
    process = Process(second, third)
    for each in (second, third):
        process.write(each.record.sites[0].address, each.record.sites[0].new_bytes)
    recover.recover(process, Installed([second, third]), lambda *_: None, PATIENCE, lambda: None)
    assert process.state_of(third) == ledger.APPLIED


def test_one_that_was_displaced_by_another_that_is_in_force_is_out_of_use():
    second = patch(2, F, 0x20000, ledger.APPLIED, displaced=(0x10000,))
    first = patch(1, F, 0x10000, ledger.REPLACING)
    process = Process(second, first)
    process.write(F, second.record.sites[0].new_bytes)
    recover.recover(process, Installed([first, second]), lambda *_: None, PATIENCE, lambda: None)
    assert process.state_of(first) == ledger.RETIRED


@pytest.mark.parametrize("own", [True, False])
def test_states_are_taken_back_with_the_jumps(own):
    """Else the memory of one that a jump leads to again would be freed."""
    old, new = patch(1, F, 0x10000, ledger.APPLIED), patch(2, F, 0x20000, ledger.LOADED)
    process = Process(old, new)
    there, wanted = (each.record.sites[0].new_bytes for each in (old, new))
    process.write(F, there)
    changes = [
        Change(new, ledger.LOADED, ledger.SWITCHING, ledger.APPLIED),
        Change(old, ledger.APPLIED, ledger.REPLACING, ledger.RETIRED),
    ]
    at_safe_point = process.at_safe_point

    def stop(*arguments):
        process.broken = (new if own else old).data[0] + ledger.STATE_OFFSET
        try:
            return at_safe_point(*arguments)
        finally:
            process.broken = None

    process.at_safe_point = stop
    with pytest.raises(LivepatchError):
        switch.perform(process, Switch([Jump("f", F, there, wanted)], [], changes), PATIENCE, lambda: None)
    switch.withdraw(process, changes)
    assert process.read(F, 5) == there
    assert process.state_of(old) == ledger.APPLIED
    assert process.state_of(new) == ledger.LOADED


def test_only_a_patch_above_displaces():
    above = patch(2, F, 0x20000, ledger.SWITCHING, displaced=(0x10000,))
    for order, expected in ((1, 1), (3, 0)):
        other = patch(order, F, 0x10000, ledger.APPLIED)
        (act,) = recover.cut_off(Installed([above, other]))
        assert len(act.displaced) == expected


def test_a_revert_that_had_not_begun_is_forgotten():
    """A child forked while its parent's revert waits has this ledger; nobody asked to take its fix out."""
    only = patch(1, F, 0x10000, ledger.REVERTING)
    process = Process(only)
    process.write(F, only.record.sites[0].new_bytes)
    (said,) = recover.recover(process, Installed([only]), lambda *_: None, PATIENCE, lambda: None)
    assert process.state_of(only) == ledger.APPLIED
    assert "fix-1 1 is in force" in said
