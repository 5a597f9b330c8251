# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Where a patch's references lead in one process.  Looks, and changes nothing.

``target``   the target's link-time address plus the bias of its image
``import``   by name and version, as ld.so would bind a reference of the target:
             in the executable first, so that its copy relocations and the PLT
             entries that stand for functions there win (psABI, "Function Addresses").
             An indirect function (IFUNC) is what was chosen for it (indirect.py)
``ifunc``    what the resolver at the target's link-time address chose

The order is that of glibc's elf/dl-lookup.c: the global scope, then the scope of
the target itself where it was brought in by dlopen(3).  Other libraries that were
dlopened may be RTLD_LOCAL, which cannot be told from outside; a name that only
they define is not found.
"""

from __future__ import annotations

from typing import Sequence

from ..artifact.file import Artifact
from ..artifact.manifest import Reference
from ..elf import ET_EXEC, SHN_ABS, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_TLS, Malformed
from ..errors import Busy, Refused
from ..process.images import Image
from ..process.snapshot import Snapshot
from . import indirect


def resolve(artifact: Artifact, target: Image, snapshot: Snapshot) -> dict[str, int]:
    """Undefined symbol of the artifact -> address in the process.

    A weak symbol that nobody defines is left out.

    :param target: the image that the artifact is for, one of the snapshot's
    :raises Busy: ``libraries_changing``
    :raises Refused: ``symbol_not_found``; ``unsupported_relocation`` (thread-local, or an
        indirect function of which nothing shows what it is); ``artifact_malformed`` (outside of the target)
    :raises ProcessLookupError: the process is gone
    """
    weak = {symbol.name for symbol in artifact.elf.symbols() if symbol.binding == STB_WEAK}
    if snapshot.link_map is None and snapshot.linking:
        what = f"the dynamic linker of process {snapshot.pid} is at work"
        raise Busy("libraries_changing", what)
    imports = Imports(snapshot, target)
    found = {}
    for reference in artifact.manifest.references:
        address = _address(reference, target, imports, snapshot)
        if address is not None:
            found[reference.symbol] = address
        elif reference.symbol not in weak:
            raise Refused("symbol_not_found", f"{_title(reference)} is defined by none of {imports.places}")
    return found


def _title(reference: Reference) -> str:
    return reference.symbol + (f" of version {reference.version}" if reference.version else "")


def _address(reference: Reference, target: Image, imports: Imports, snapshot: Snapshot) -> int | None:
    if reference.kind in ("target", "ifunc"):
        address = target.loaded.memory_address(reference.address)
        if not target.start <= address <= target.end:
            raise Refused(
                "artifact_malformed", f"{reference.symbol} would be at {address:#x}, outside of {target.name}"
            )
        if reference.kind == "ifunc":
            return indirect.choice(snapshot, target, reference.address, reference.symbol)
        return address
    if reference.kind == "import":
        return imports.find(reference)
    raise Refused("unsupported_relocation", f"The patch refers to {reference.symbol}, which is thread-local")


class Imports:
    """Finds what the target imports.

    :param snapshot: its ``link_map`` are the process's images in ld.so's order; None: not to be told
    """

    def __init__(self, snapshot: Snapshot, target: Image) -> None:
        self._snapshot = snapshot
        self._link_map = snapshot.link_map
        self._target = target
        self._scope: Sequence[Image] | None = None
        self._plt: dict[str, list[tuple[str | None, int]]] = {}

    @property
    def places(self) -> str:
        """Where was looked, for messages."""
        return ", ".join(image.name for image in self._scope or ())

    def find(self, reference: Reference) -> int | None:
        """The address; None: nobody defines it.

        :raises Refused: ``symbol_not_found``, ``unsupported_relocation``
        """
        name = reference.symbol.partition("@")[0]  # name@VERSION is what .symver makes
        try:
            if self._scope is None:
                self._open()
            for version, address in self._plt.get(name, ()):
                if reference.version in (None, version):
                    return address
            return self._search(name, reference)
        except Malformed as error:
            raise Refused(
                "symbol_not_found",
                f"{_title(reference)}: the symbols of the process can not be read: {error}",
            ) from error

    def _open(self) -> None:
        if self._link_map is None:
            raise Malformed("the list of loaded libraries is changing, or not to be found")
        self._scope = search_scope(self._link_map, self._target)
        self._plt = _plt_addresses(self._link_map[0])

    def _search(self, name: str, reference: Reference) -> int | None:
        for image in self._scope or ():
            symbol = image.loaded.lookup(name, reference.version)
            if symbol is None:
                continue
            if symbol.type == STT_TLS:
                raise Refused("unsupported_relocation", f"{_title(reference)} is thread-local in {image.name}")
            if symbol.type == STT_GNU_IFUNC:
                return indirect.choice(self._snapshot, image, symbol.value, _title(reference), symbol)
            if symbol.section_index == SHN_ABS:
                return symbol.value
            return image.loaded.memory_address(symbol.value)
        return None


def _plt_addresses(executable: Image) -> dict[str, list[tuple[str | None, int]]]:
    """name -> [(version, address)] of functions whose address is that of a PLT entry in the executable.

    Non-PIC code took it; the undefined symbol then has a value, and for the whole
    process this value is the function's address.  That entry needs no %ebx.
    """
    found: dict[str, list[tuple[str | None, int]]] = {}
    if executable.type == ET_EXEC:
        for symbol in executable.loaded.symbols():
            if not symbol.defined and symbol.value and symbol.type == STT_FUNC:
                address = executable.loaded.memory_address(symbol.value)
                found.setdefault(symbol.name, []).append((symbol.version, address))
    return found


def search_scope(link_map: Sequence[Image], target: Image) -> list[Image]:
    """The images in which a reference of the target is looked up, in order.

    ::

        link map:  program  preload.so  liba  libc  ld.so | plugin  libp  other
                   \\_______ global scope ______________/   \\_ dlopened: the target with what it needs,
                                                              nobody else

    :param link_map: the executable first
    """
    by_name: dict[str, Image] = {}
    for image in link_map:
        for name in (image.loaded.soname, image.name):
            if name is not None:
                by_name.setdefault(name, image)

    def with_needed(first: Image) -> list[Image]:
        found = [first]
        for image in found:  # grows meanwhile: breadth first
            for path in image.loaded.needed:
                needed = by_name.get(path) or by_name.get(path.rpartition("/")[2])
                if needed is not None and needed not in found:
                    found.append(needed)
        return found

    # What LD_PRELOAD brought stands between the executable and what that needs.
    last = max(link_map.index(image) for image in with_needed(link_map[0]))
    scope = list(link_map[: last + 1])
    if target in link_map:
        scope += [image for image in with_needed(target) if image not in scope]
    return scope
