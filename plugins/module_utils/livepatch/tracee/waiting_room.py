# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A waiting room in a process: memory of its own, in which threads wait that have left a function.

A return address on a stack is *swapped* for the address of a stub; what stood there is in the room's
table.  A thread that returns into its stub waits there, for at most the room's timeout, and goes on to
where it would have gone.  waiting_code.py has the pictures.

::

    memfd_create "livepatch-wait"    a name of its own: no ledger stands in there
    mmap rw- private                 all of it, wherever the kernel likes: it keeps clear of heap and stacks
    fill                             what stands there follows from the address
    mmap r-x private                 the text, over its part of the first mapping
    close

The room is no part of a patch.  If we die, whatever is left does no harm: each stub leads on.  A room
can be found by its name, and emptied from its table alone.
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..cpu import Cpu
from ..cpu.waiting_stub import PASSED, WAITS
from ..errors import LivepatchError, Refused
from ..kernel.memory import Memory
from ..process.snapshot import Snapshot
from . import descriptors, memory_file, waiting_code
from .memory_file import MAP_FIXED, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE
from .remote import Hold
from .seccomp import Call
from .waiting_code import Plan, Slot, Unsound

Range = Tuple[int, int]  # (address, size in bytes)

_NAME = "livepatch-wait"
LINK = memory_file.link_of(_NAME)
SCRATCH = _NAME.encode() + b"\0"  #: what the hold must have in its scratch memory

CALLS = (
    memory_file.CREATE,
    Call("mmap", (0, None, PROT_READ | PROT_WRITE, MAP_PRIVATE, None, 0)),
    Call("mmap", (None, None, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, None, None)),
    Call("munmap", (None, None)),
    Call("close", (None,)),
)
CLEAN_CALLS = CALLS[-2:]


def build(hold: Hold, cpu: Cpu, slots: int, timeout: int) -> Plan:
    """Bring a room into the process; nothing leads there yet.

    :param hold: has :data:`SCRATCH` in its scratch memory
    :param timeout: the longest that a thread waits in it, microseconds
    :raises Refused: ``no_named_memory``, ``no_executable_memory``, ``seccomp``; nothing is left
    :raises Stranded: and something is
    """
    size = Plan(cpu, 0, slots, timeout)  # sizes are the same anywhere
    undo: List[Callable[[], object]] = []
    try:
        descriptor = memory_file.create(hold)
        undo.append(lambda: hold.call("close", descriptor))
        address = hold.call("mmap", 0, size.span, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0)
        undo.append(lambda: hold.call("munmap", address, size.span))
        plan = Plan(cpu, address, slots, timeout)
        parts = ((0, plan.data_bytes()), (plan.data_span, plan.text_bytes()))
        descriptors.fill_and_seal(hold.tid, descriptor, parts, plan.span)
        flags = MAP_PRIVATE | MAP_FIXED
        text = (plan.text, plan.text_span, PROT_READ | PROT_EXEC, flags, descriptor, plan.data_span)
        memory_file.map_text(hold, Call("mmap", text), plan.text_bytes())
        hold.call("close", descriptor)
        return plan
    except (LivepatchError, OSError) as error:
        memory_file.undo(undo, error)
        if isinstance(error, LivepatchError):
            raise
        raise Refused("no_named_memory", f"there could be no waiting room: {error}") from error
    except BaseException as error:
        memory_file.undo(undo, error)
        raise


class Room:
    """What is done with the slots of a room: with all threads stopped, but for :meth:`count`.

    :param memory: of its process, writable
    """

    def __init__(self, plan: Plan, memory: Memory) -> None:
        self.plan = plan
        self._memory = memory

    def table(self) -> List[Slot]:
        """The slots as they are now."""
        return self.plan.slots_of(self._memory.read(self.plan.table, self.plan.table_size))

    def count(self) -> Tuple[Set[int], int]:
        """The threads that wait, and how many are still expected to; they may run."""
        slots = [(index, slot) for index, slot in enumerate(self.table()) if slot.address and not slot.go]
        waiting = {slot.tid for _, slot in slots if slot.flag == WAITS}
        return waiting, sum(not slot.flag and self.leads_here(index, slot) for index, slot in slots)

    def swap(self, index: int, slot: Slot) -> bool:
        """Have a thread return into a stub.

        If we die after the first write, the slot tells of a word that is as it was.

        :param index: of a slot that is free
        :returns: False: something else stands on the stack, and nothing was changed
        """
        if self._word(slot.address) != slot.leads_to:
            return False
        self._memory.write(self.plan.slot_at(index), slot.packed())
        self._memory.write(slot.address, self._bytes(self.plan.entry(index)))
        return True

    def is_free(self, index: int, slot: Slot) -> bool:
        """Whether no thread can come through a slot's stub any more, or was ever to."""
        return not slot.address or (slot.flag == PASSED and not self.leads_here(index, slot))

    def set_go(self, index: int, go: bool) -> None:
        """Whether whoever comes into this stub shall wait (False) or not."""
        self._memory.write(self.plan.go_at(index), int(go).to_bytes(4, "little"))

    def write(self, table: Sequence[Slot]) -> None:
        """Change the table.

        A thread whose ``go`` is set need not be woken: the call that our stop broke off starts again, and finds that.
        """
        self._memory.write(self.plan.table, b"".join(slot.packed() for slot in table))

    def end(self) -> None:
        """Nobody shall come in any more, and nobody wait.

        Every word on a stack that leads here gets what stood there before.  One that holds something else
        belongs to somebody else by now: the frame was left, or abandoned by longjmp(3).
        """
        table = self.table()
        for index, slot in enumerate(table):
            if self.leads_here(index, slot):
                self._memory.write(slot.address, self._bytes(slot.leads_to))
        self.write([slot._replace(go=1) if slot.address else slot for slot in table])

    def leads_here(self, index: int, slot: Slot) -> bool:
        """Whether the word on the stack is what we wrote."""
        return slot.address != 0 and self._word(slot.address) == self.plan.entry(index)

    def _word(self, address: int) -> Optional[int]:
        try:
            return int.from_bytes(self._memory.read(address, self.plan.cpu.word), "little")
        except ProcessLookupError:
            raise
        except OSError:  # the stack is gone
            return None

    def _bytes(self, word: int) -> bytes:
        return word.to_bytes(self.plan.cpu.word, "little")


def clean(hold: Hold, memory: Memory, left: Left, plans: Sequence[Plan]) -> None:
    """Remove rooms that are empty: text first, so that as long as anything is left it can be found.

    :param hold: made with :data:`CLEAN_CALLS`
    :param left: mappings and descriptors
    :param plans: of the rooms among them that have their text, which may have no name
    :raises OSError: munmap(2), close(2)
    """
    for plan in plans:
        memory.write(plan.table, bytes(plan.table_size))  # nobody looks for its text from here on
    texts = [(plan.text, plan.text_span) for plan in plans]
    for address, size in (*dict.fromkeys((*left.texts, *texts)), *left.data):
        hold.call("munmap", address, size)
    for descriptor in left.descriptors:
        hold.call("close", descriptor)


class Found(NamedTuple):
    """What a data mapping tells."""

    plan: Optional[Plan]  # None: its text never came, or is gone already
    used: bool  # threads may come through


class Left(NamedTuple):
    """What of rooms is in a process."""

    data: Sequence[Range] = ()
    texts: Sequence[Range] = ()
    descriptors: Sequence[int] = ()

    @property
    def anything(self) -> bool:
        return bool(self.data or self.texts or self.descriptors)


def find(snapshot: Snapshot) -> Left:
    """Rooms that an injector has left behind; nothing is stopped.

    :raises ProcessLookupError: the process is gone
    """
    ours = [mapping for mapping in snapshot.mappings if mapping.path.startswith(LINK)]
    return Left(
        data=[(mapping.start, mapping.size) for mapping in ours if mapping.writable],
        texts=[(mapping.start, mapping.size) for mapping in ours if not mapping.writable],
        descriptors=descriptors.named(snapshot.task, LINK),
    )


def exists(task: int) -> bool:
    """Whether a process has any; far cheaper than a snapshot.

    :param task: the process, or a living thread of it
    :raises ProcessLookupError: it is gone
    :raises PermissionError: we may not look
    """
    return descriptors.maps_any(task, LINK) or bool(descriptors.named(task, LINK))


def read(cpu: Cpu, data: Range, executable: Callable[[int], bool], memory: Memory) -> Found:
    """The room behind a data mapping that was found, every byte checked.

    :param executable: whether there is code at an address
    :raises Refused: ``ledger_unreadable``
    """
    address, size = data
    try:
        header = memory.read(address, waiting_code.HEADER.size)
    except ProcessLookupError:
        raise
    except OSError:  # the file is empty yet; once it was filled it can not be cut off any more
        return Found(None, False)
    try:
        plan = waiting_code.read_header(cpu, address, header)
        if plan is None or size < plan.data_span:
            return Found(None, False)
        used = plan.slots_of(memory.read(plan.table, plan.table_size))
        if not any(slot.address for slot in used):
            return Found(plan if _text_stands(plan, memory) else None, False)
        if not _text_stands(plan, memory):
            raise Unsound("its code is not what it should be")
        room = Room(plan, memory)
        for index, slot in enumerate(used):
            # where a thread has come through already, the code may be unloaded by now
            if room.leads_here(index, slot) and not executable(slot.leads_to):
                raise Unsound(f"it would lead to {slot.leads_to:#x}, where no code is")
        return Found(plan, True)
    except ProcessLookupError:
        raise
    except (Unsound, OSError) as error:
        what = f"the memory at {address:#x} has the name of a waiting room, but {error}"
        raise Refused("ledger_unreadable", what) from error


def _text_stands(plan: Plan, memory: Memory) -> bool:
    """Whether the text mapping is there; it may have been unmapped already, and something else be there now."""
    text = plan.text_bytes()
    try:
        return memory.read(plan.text, len(text)) == text
    except ProcessLookupError:
        raise
    except OSError:
        return False
