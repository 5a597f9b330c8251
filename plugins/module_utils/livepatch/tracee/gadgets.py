# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Instructions of the process itself that can be borrowed for a system call.

Two are needed: a system-call instruction that is followed by a return, and one that calls
rt_sigreturn, with which signal handlers end (sigaction(2), SA_RESTORER).  Both are looked
for where code stays as long as the process does: vdso, dynamic linker, C library and
executable.  Any other library could be closed (dlclose(3)) before we use it, and the
vsyscall page only looks as if it were memory.
"""

from __future__ import annotations

import os
import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..cpu import Cpu
from ..errors import Refused
from ..kernel.procfs import Mapping

Region = Tuple[int, bytes]  # address, code

_LASTING = re.compile(r"(?:ld|libc|libpthread)(?:[-.][^/]*)?\.so(?:\.\d+)*")
_DELETED = " (deleted)"
_CHUNK = 1 << 20  # bytes: what is found is mostly in the first megabyte
_SYSCALL_SIZE = 2  # syscall, int $0x80


class Gadgets(NamedTuple):
    """Addresses in the process."""

    syscall: int
    popped: int  # words that are popped between the system call and the return
    sigreturn: int
    behind_sigreturn: int  # what a seccomp filter sees as instruction pointer

    @property
    def behind_syscall(self) -> int:
        """The program counter when the call is done."""
        return self.syscall + _SYSCALL_SIZE


def lasting(mappings: Iterable[Mapping], exe: str) -> List[Mapping]:
    """The mappings to search, small ones first.

    :param exe: path of the executable, as ``procfs.exe`` gives it
    """

    def lasts(mapping: Mapping) -> bool:
        if not (mapping.readable and mapping.executable and not mapping.writable):
            return False
        if mapping.path in ("[vdso]", exe):
            return True
        path = mapping.path[: -len(_DELETED)] if mapping.path.endswith(_DELETED) else mapping.path
        return path.startswith("/") and _LASTING.fullmatch(os.path.basename(path)) is not None

    return sorted(filter(lasts, mappings), key=lambda mapping: (mapping.path != "[vdso]", mapping.size))


def search(cpu: Cpu, regions: Iterable[Region]) -> Gadgets:
    """Look for both instructions; regions behind the one that has the last missing one are not asked for.

    :raises Refused: ``no_gadget``
    """
    longest = max(map(len, (*cpu.sigreturn_gadgets, *(code for code, _ in cpu.syscall_gadgets))))
    syscall: Optional[Tuple[int, int]] = None
    sigreturn: Optional[Tuple[int, int]] = None
    edge, behind = b"", 0  # the end of the region before, for what crosses into the next one
    for address, code in regions:
        if address == behind:
            address, code = address - len(edge), edge + code
        behind, edge = address + len(code), code[1 - longest :]
        if syscall is None:
            syscall = _first(address, code, cpu.syscall_gadgets)
        if sigreturn is None:
            sigreturn = _first(address, code, [(pattern, len(pattern)) for pattern in cpu.sigreturn_gadgets])
        if syscall and sigreturn:
            return Gadgets(syscall[0], syscall[1], sigreturn[0], sigreturn[0] + sigreturn[1])
    missing = "rt_sigreturn" if syscall else "system call"
    raise Refused("no_gadget", f"no {missing} instruction in vdso, dynamic linker, C library or executable")


def _first(address: int, code: bytes, patterns: Sequence[Tuple[bytes, int]]) -> Optional[Tuple[int, int]]:
    """(address, second member) of the pattern that was found."""
    for pattern, fact in patterns:
        at = code.find(pattern)
        if at >= 0:
            return address + at, fact
    return None


def find(cpu: Cpu, mappings: Iterable[Mapping], exe: str, read: Callable[[int, int], bytes]) -> Gadgets:
    """Both instructions, from memory; the process runs meanwhile.

    :param exe: path of the executable, as ``procfs.exe`` gives it
    :param read: (address, size) -> bytes, or OSError
    :raises Refused: ``no_gadget``
    """

    def regions() -> Iterable[Region]:
        for mapping in lasting(mappings, exe):
            for address in range(mapping.start, mapping.end, _CHUNK):
                try:
                    yield address, read(address, min(_CHUNK, mapping.end - address))
                except ProcessLookupError:
                    raise
                except OSError:  # behind the end of a file that was cut short
                    break

    return search(cpu, regions())


def intact(cpu: Cpu, gadgets: Gadgets, read: Callable[[int, int], bytes]) -> bool:
    """Whether both are still there; asked while the thread that will run them stands still."""

    def there(pattern: bytes, address: int) -> bool:
        try:
            return read(address, len(pattern)) == pattern
        except ProcessLookupError:
            raise
        except OSError:
            return False

    return any(
        there(pattern, gadgets.syscall) for pattern, popped in cpu.syscall_gadgets if popped == gadgets.popped
    ) and any(there(pattern, gadgets.sigreturn) for pattern in cpu.sigreturn_gadgets)


def restorers(
    cpu: Cpu, mappings: Iterable[Mapping], exe: str, read: Callable[[int, int], bytes]
) -> Dict[int, bool]:
    """All addresses that signal handlers may return to; whether it is through rt_sigreturn.

    One of them on a stack says that a handler runs there, and that it may have
    interrupted a function on another stack.
    """
    patterns = [(pattern, True) for pattern in cpu.sigreturn_gadgets]
    patterns += [(pattern, False) for pattern in cpu.restorer_gadgets]
    found = {}
    for mapping in lasting(mappings, exe):
        try:
            code = read(mapping.start, mapping.size)
        except ProcessLookupError:
            raise
        except OSError:
            continue
        for pattern, is_rt in patterns:
            at = code.find(pattern)
            while at >= 0:
                found[mapping.start + at] = is_rt
                at = code.find(pattern, at + 1)
    return found
