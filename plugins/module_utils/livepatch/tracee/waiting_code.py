# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What stands in a waiting room, byte by byte; decided without any process.

::

    data (rw-)                                          text (r-x)
    +--------+---------+--------+--------+-----+        +--------+--------+-----+-----------+
    | header | timeout | slot 0 | slot 1 | ... |        | stub 0 | stub 1 | ... | .eh_frame |
    +--------+---------+--------+--------+-----+        +--------+--------+-----+-----------+
                          ^                                  |
                          +------- return address, flag, go -+

A slot and its stub serve one thread.  The tables say where the frame behind each stub is, in two FDEs::

    nop            found for the return address of a frame whose thread is still inside (address - 1):
                   the caller's stack pointer is the frame's CFA, the return address stands in the slot
    the code       a thread that has left and waits: like a signal's frame, because it *is* at its
                   return address (``ret N`` has taken its arguments off the stack already)
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import List, NamedTuple, Optional, Tuple

from ..cpu import Cpu
from ..cpu.waiting_stub import ENTRY, Stub, Words

PAGE = 4096
MOST_SLOTS = 128

# magic, format, bytes in a word, number of slots, microseconds of the timeout
HEADER = struct.Struct("<8sIIIIQ")
_MAGIC = b"LPWAIT\r\n"
_FORMAT = 1
_TIMEOUT_AT = HEADER.size  # struct timespec, 16 bytes at most
_SLOTS_AT = 64

# address of the word on the stack, where it led, thread, flag, go, nothing
SLOT = struct.Struct("<QQIIII")
_WORD_AT, _FLAG_AT, _GO_AT = 8, 20, 24

_STUB_ALIGNMENT = 16


class Slot(NamedTuple):
    """One line of the table; all zeros: not used yet."""

    address: int  # of the word on the stack that was swapped
    leads_to: int  # what stood there
    tid: int
    flag: int  # written by the stub: waiting_stub.WAITS, waiting_stub.PASSED
    go: int  # 1: do not wait

    def packed(self) -> bytes:
        return SLOT.pack(*self, 0)


class Unsound(ValueError):
    """These bytes are no waiting room of ours."""


class Plan(NamedTuple):
    """A waiting room: where it stands, and what follows from that.

    :ivar data: address of the data mapping, the text follows it
    :ivar slots: how many threads can be waited for
    :ivar timeout: the longest that a thread waits, microseconds
    """

    cpu: Cpu
    data: int
    slots: int
    timeout: int

    @property
    def table(self) -> int:
        """Address of the first slot."""
        return self.data + _SLOTS_AT

    @property
    def table_size(self) -> int:
        return self.slots * SLOT.size

    @property
    def data_span(self) -> int:
        """Bytes, whole pages."""
        return _up(_SLOTS_AT + self.table_size, PAGE)

    @property
    def text(self) -> int:
        """Address of the text mapping."""
        return self.data + self.data_span

    @property
    def text_span(self) -> int:
        """Bytes, whole pages."""
        return _up(self.slots * self._stride + len(_frames(self)), PAGE)

    @property
    def span(self) -> int:
        """Both, bytes."""
        return self.data_span + self.text_span

    @property
    def eh_frame(self) -> Tuple[int, int]:
        """(address, size)."""
        return self.text + self.slots * self._stride, len(_frames(self))

    @property
    def text_range(self) -> Tuple[int, int]:
        """[start, end) of the text mapping."""
        return self.text, self.text + self.text_span

    @property
    def as_patch(self) -> Tuple[int, int, str, int, int]:
        """As Tracee.add_patch wants it."""
        return (*self.text_range, "a waiting room", *self.eh_frame)

    def entry(self, index: int) -> int:
        """What the swapped return address of a slot is."""
        return self.text + index * self._stride + ENTRY

    def slot_at(self, index: int) -> int:
        """Address of a slot."""
        return self.table + index * SLOT.size

    def go_at(self, index: int) -> int:
        """Address of its word ``go``."""
        return self.slot_at(index) + _GO_AT

    def index_of(self, pc: int) -> Optional[int]:
        """Whose stub an address is in."""
        index = (pc - self.text) // self._stride
        return index if pc >= self.text and index < self.slots else None

    def behind_call(self, index: int) -> int:
        """Address behind the system-call instruction of a stub."""
        return self.entry(index) - ENTRY + self._stub(index).behind_call

    def data_bytes(self) -> bytes:
        """The data mapping's beginning; zeros follow."""
        header = HEADER.pack(_MAGIC, _FORMAT, self.cpu.word, self.slots, 0, self.timeout)
        seconds, rest = divmod(self.timeout, 1_000_000)
        time = struct.pack("<QQ" if self.cpu.word == 8 else "<II", seconds, rest * 1000)
        return header + time

    def text_bytes(self) -> bytes:
        """The text mapping's contents."""
        stubs = [self._stub(index).code.ljust(self._stride, b"\xcc") for index in range(self.slots)]
        return b"".join(stubs) + _frames(self)

    def slots_of(self, table: bytes) -> List[Slot]:
        """The table's lines."""
        return [Slot(*line[:5]) for line in SLOT.iter_unpack(table)]

    @property
    def _stride(self) -> int:
        return _stride(self.cpu)

    def _stub(self, index: int) -> Stub:
        return self._stub_at(self.text + index * self._stride, index)

    def _stub_at(self, address: int, index: int) -> Stub:
        slot = self.slot_at(index)
        words = Words(slot + _WORD_AT, slot + _FLAG_AT, slot + _GO_AT, self.data + _TIMEOUT_AT)
        return self.cpu.waiting_stub(address, words)

    # -- unwind tables ---------------------------------------------------------------

    def frames(self) -> bytes:
        """.eh_frame (LSB core 5.0, 10.6.1), for where the text stands; its length is the same anywhere."""
        inside, waiting = self._cie(b"zR"), self._cie(b"zRS")
        out = inside + waiting
        start = self.data + self.data_span
        for index in range(self.slots):
            address = start + index * self._stride
            stub = self._stub_at(address, index)
            in_slot = self._in_slot(index)
            out += self._fde(len(out), 0, address, ENTRY, in_slot)
            program = in_slot + self._program(stub)
            out += self._fde(len(out), len(inside), address + ENTRY, len(stub.code) - ENTRY, program)
        return out

    def _cie(self, augmentation: bytes) -> bytes:
        cpu = self.cpu
        body = struct.pack("<IB", 0, 1) + augmentation + b"\0"
        body += bytes([1, 0x80 - cpu.word, cpu.dwarf_pc])  # factors: 1, -word as SLEB128
        body += b"\x01\x00"  # pointers are absolute
        body += bytes([0x0C, cpu.dwarf_sp, 0])  # DW_CFA_def_cfa: CFA = sp
        return self._record(body)

    def _fde(self, at: int, cie: int, start: int, size: int, program: bytes) -> bytes:
        word = "Q" if self.cpu.word == 8 else "I"
        return self._record(struct.pack(f"<I{word * 2}B", at + 4 - cie, start, size, 0) + program)

    def _in_slot(self, index: int) -> bytes:
        """DW_CFA_expression: the return address stands at the slot's word (DW_OP_addr)."""
        where = (self.slot_at(index) + _WORD_AT).to_bytes(self.cpu.word, "little")
        return bytes([0x10, self.cpu.dwarf_pc, 1 + len(where), 0x03]) + where

    def _program(self, stub: Stub) -> bytes:
        out = bytearray()
        at, depth = ENTRY, 0
        for behind, register in stub.pushes:
            depth += 1
            # DW_CFA_advance_loc1, DW_CFA_def_cfa_offset, DW_CFA_offset
            out += bytes([0x02, behind - at, 0x0E, depth * self.cpu.word])
            if register >= 0:
                out += bytes([0x80 | register, depth])
            at = behind
        for behind, register in stub.pops:
            depth -= 1
            out += bytes([0x02, behind - at, 0x0E, depth * self.cpu.word])
            if register >= 0:
                out += bytes([0x08, register])  # DW_CFA_same_value
            at = behind
        return bytes(out)

    def _record(self, body: bytes) -> bytes:
        body += bytes(-(len(body) + 4) % self.cpu.word)  # DW_CFA_nop
        return struct.pack("<I", len(body)) + body


def read_header(cpu: Cpu, address: int, data: bytes) -> Optional[Plan]:
    """The room whose data mapping begins with these bytes.

    :returns: None: it was not filled yet, nothing leads there
    :raises Unsound: it is something else
    """
    if not any(data[: HEADER.size]):
        return None
    magic, version, word, slots, zero, timeout = HEADER.unpack_from(data)
    if magic != _MAGIC or version != _FORMAT:
        raise Unsound("it does not begin as a waiting room does")
    if word != cpu.word or zero or not 0 < slots <= MOST_SLOTS or not 0 < timeout < 1 << 32:
        raise Unsound("its header makes no sense")
    return Plan(cpu, address, slots, timeout)


@lru_cache(maxsize=8)
def _frames(plan: Plan) -> bytes:
    return plan.frames()


@lru_cache(maxsize=8)
def _stride(cpu: Cpu) -> int:
    """Bytes from one stub to the next: a stub has the same length everywhere."""
    return _up(len(cpu.waiting_stub(0, Words(0, 0, 0, 0)).code), _STUB_ALIGNMENT)


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
