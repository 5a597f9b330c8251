# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was chosen for an indirect function, over images made of plain data."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from livepatch.cpu import I386, X86_64
from livepatch.elf import STB_GLOBAL, STT_GNU_IFUNC
from livepatch.elf.layout import Relocation
from livepatch.elf.symbols import Symbol
from livepatch.errors import Refused
from livepatch.loading import indirect

RESOLVER = 0x400
MEMCPY = Symbol("memcpy", RESOLVER, 0, STT_GNU_IFUNC, STB_GLOBAL, 0, 1, "V2", 1)
OF_ONE, OF_TWO = 0x10000500, 0x10000600  # implementations, in libc


class Image:
    """An image of 64 KiB that executes.

    :param entries: (relocation type, symbol or None, addend or None, what stands in the slot)
    :param file: addends as the file of a REL image has them; None: it is gone
    """

    def __init__(self, name, start, entries, file=(), vdso=False):
        self.name = self.path = name
        self.start, self.is_vdso = start, vdso
        self.dynamic = ("something",)
        self.loaded = self.dynamic_tables = self
        self._entries = entries
        self._file = file

    def memory_address(self, address):
        return self.start + address

    def relocations(self):
        return [
            Relocation(8 * index, kind, index if symbol else 0, addend)
            for index, (kind, symbol, addend, _) in enumerate(self._entries)
        ]

    def symbol(self, index):
        return self._entries[index][1]

    def mentions(self, name):
        return any(symbol and symbol.name == name for _, symbol, _, _ in self._entries)

    def read(self, address, size):
        return self._entries[address // 8][3].to_bytes(size, "little")

    def file_bytes(self, address, size):
        return None if self._file is None else self._file[address // 8].to_bytes(size, "little")


def chosen(libc, *others, cpu=X86_64, symbol=MEMCPY):
    images = [libc, *others]

    def image_at(address):
        return next((each for each in images if each.start <= address < each.start + 0x10000), None)

    def mapping_at(address):
        return None if image_at(address) is None else SimpleNamespace(executable=True)

    snapshot = SimpleNamespace(cpu=cpu, link_map=images, image_at=image_at, mapping_at=mapping_at)
    return indirect.choice(snapshot, libc, RESOLVER, "memcpy", symbol)


def libc(*entries, **more):
    return Image("libc", 0x10000000, [(0, None, None, 0), *entries], **more)


def program(*entries):
    return Image("program", 0x20000000, [(0, None, None, 0), *entries])


def asked(name="memcpy", version="V2"):
    return MEMCPY._replace(name=name, version=version, section_index=0, value=0)


def of_resolver(slot, resolver=RESOLVER):
    return X86_64.irelative, None, resolver, slot


def of_name(slot, kind=X86_64.jump_slot, **what):
    return kind, asked(**what), 0, slot


def test_the_slot_of_the_image_s_own_uses_tells():
    assert chosen(libc(of_resolver(OF_TWO, 0x404), of_resolver(OF_ONE))) == OF_ONE


def test_what_a_rel_table_keeps_in_the_slot_is_read_from_the_file():
    image = libc((I386.irelative, None, None, OF_TWO), (I386.irelative, None, None, OF_ONE), file=[0, 0x404, RESOLVER])
    assert chosen(image, cpu=I386) == OF_ONE
    gone = libc((I386.irelative, None, None, OF_ONE), file=None)
    with pytest.raises(Refused, match="nothing"):
        chosen(gone, cpu=I386)
    assert chosen(gone, program(of_name(OF_TWO)), cpu=I386) == OF_TWO


@pytest.mark.parametrize("kind", [X86_64.jump_slot, X86_64.glob_dat])
def test_a_slot_for_the_name_tells_wherever_it_is(kind):
    assert chosen(libc(), program(of_name(OF_ONE, kind=kind))) == OF_ONE


def test_a_slot_that_nobody_has_filled_in_tells_nothing():
    lazy = of_name(0x20000030)  # the program's own PLT
    unapplied = of_resolver(0x10000000 + RESOLVER)
    itself = of_name(0x10000030)  # the same of the C library, whose own code it is
    for image, others in ((libc(), [program(lazy)]), (libc(unapplied), []), (libc(itself), []), (libc(), [])):
        with pytest.raises(Refused, match="shows nothing") as refusal:
            chosen(image, *others)
        assert refusal.value.reason == "unsupported_relocation"
    assert chosen(libc(), program(lazy), program(of_name(OF_ONE))) == OF_ONE


def test_another_name_or_version_is_another_function():
    with pytest.raises(Refused, match="shows nothing"):
        chosen(libc(), program(of_name(OF_ONE, version="V1"), of_name(OF_ONE, name="memmove")))
    unversioned = program(of_name(OF_ONE, version=None))
    assert chosen(libc(), unversioned) == OF_ONE
    with pytest.raises(Refused, match="shows nothing"):
        chosen(libc(), unversioned, symbol=MEMCPY._replace(hidden_version=True))


def test_what_the_kernel_has_may_be_chosen():
    vdso = Image("[vdso]", 0x30000000, [(0, None, None, 0)], vdso=True)
    assert chosen(libc(), program(of_name(0x30000100)), vdso) == 0x30000100


def test_slots_that_do_not_agree_are_refused():
    with pytest.raises(Refused, match="0x10000500 and 0x10000600") as refusal:
        chosen(libc(of_resolver(OF_ONE), of_resolver(OF_TWO)))
    assert refusal.value.reason == "unsupported_relocation"


def test_a_function_that_is_not_exported_is_known_by_its_resolver_only():
    with pytest.raises(Refused, match="shows nothing"):
        chosen(libc(), program(of_name(OF_ONE)), symbol=None)
