# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The memory of another process: process_vm_readv(2) and /proc/PID/mem (proc(5))."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Optional, Sequence, Tuple

# PyDLL keeps the interpreter lock: a call costs 0.6 us less, and nobody else of ours runs.
_readv = ctypes.PyDLL(None, use_errno=True).process_vm_readv
_readv.restype = ctypes.c_ssize_t
_readv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]

IOV_MAX = 1024  # <limits.h>


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class BulkReader:
    """Reads many ranges of one process into one buffer of its own.

    Everything is allocated and touched beforehand, so that a read inside a stop
    costs the system call and nothing else.

    :param pid: any living thread of the process
    :param capacity: bytes the ranges of one read may have together
    """

    def __init__(self, pid: int, capacity: int) -> None:
        self.pid = pid
        self.buffer = bytearray(capacity)
        self.capacity = capacity
        whole = (ctypes.c_char * capacity).from_buffer(self.buffer)
        ctypes.memset(whole, 0, capacity)
        self._local = (ctypes.c_size_t * 2)(ctypes.addressof(whole), capacity)
        self._remote = (ctypes.c_size_t * (2 * IOV_MAX))()
        self._address = ctypes.addressof(whole)

    def read(self, ranges: Sequence[Tuple[int, int]]) -> int:
        """Fill ``buffer`` with the ranges, one after the other.

        :param ranges: (address, size)
        :returns: bytes read
        :raises OSError: EFAULT where one of them is not all readable; ESRCH
        """
        total = 0
        remote = self._remote
        for begin in range(0, len(ranges), IOV_MAX):
            part = ranges[begin : begin + IOV_MAX]
            index = wanted = 0
            for address, size in part:
                remote[index] = address
                remote[index + 1] = size
                index += 2
                wanted += size
            if total + wanted > self.capacity:
                raise _os_error(errno.EFBIG)
            self._local[0] = self._address + total
            self._local[1] = wanted
            got = _readv(self.pid, self._local, 1, remote, len(part), 0)
            if got != wanted:
                raise _os_error(ctypes.get_errno() if got < 0 else errno.EFAULT)
            total += wanted
        return total


class Memory:
    """Reads and, after :meth:`open_writable`, writes the memory of a process.

    A file descriptor of /proc/PID/mem stays with the address space it was opened
    on, so a PID that is used again, or an execve, can never be written by mistake:
    reads and writes give 0 bytes then.

    :param pid: the process
    :param tid: a living thread, where the leader has exited
    :raises ProcessLookupError: it is gone
    :raises PermissionError: PTRACE_MODE_READ (reading) was denied
    """

    def __init__(self, pid: int, tid: Optional[int] = None) -> None:
        self.pid = pid
        self._path = f"/proc/{pid}/mem" if tid is None else f"/proc/{pid}/task/{tid}/mem"
        self._descriptor = self._open(os.O_RDONLY)
        self._writable = -1

    def _open(self, flags: int) -> int:
        try:
            return os.open(self._path, flags | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ProcessLookupError(error.errno, f"process {self.pid} is gone") from error

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.close_writable()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def open_writable(self) -> None:
        """Ask the kernel what ptrace(2) would ask, before anything is stopped.

        :raises PermissionError: PTRACE_MODE_ATTACH was denied: yama, an LSM, or credentials
        :raises ProcessLookupError: the address space that is read has gone meanwhile, by exit or execve
        """
        if self._writable < 0:
            self._writable = self._open(os.O_RDWR)
            if not self.alive():
                self.close_writable()
                raise ProcessLookupError(errno.ESRCH, f"the memory of process {self.pid} is gone")

    def close_writable(self) -> None:
        """Keep reading only."""
        if self._writable >= 0:
            os.close(self._writable)
        self._writable = -1

    def alive(self) -> bool:
        """Whether there is the address space; if not, a read gives nothing, else it fails at address 0 (mem_rw)."""
        try:
            return bool(os.pread(self._descriptor, 1, 0))
        except OSError:
            return True

    def read(self, address: int, size: int) -> bytes:
        """Exactly ``size`` bytes.

        :raises OSError: EFAULT or EIO where not all of them are mapped and readable
        :raises ProcessLookupError: the address space is gone
        """
        if not 0 <= address <= address + size <= 1 << 63:
            raise _os_error(errno.EFAULT)
        data = os.pread(self._descriptor, size, address)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), address + len(data))
            if not more:
                if not data:
                    raise ProcessLookupError(errno.ESRCH, f"the memory of process {self.pid} is gone")
                raise _os_error(errno.EFAULT)
            data += more
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``; also to pages that the process itself may not write.

        :raises OSError: not mapped, or the kernel forbids it (EIO under proc_mem.force_override=never)
        :raises ProcessLookupError: the address space is gone
        """
        self.open_writable()
        written = os.pwrite(self._writable, data, address)
        if written == 0 and data:
            raise ProcessLookupError(errno.ESRCH, f"the memory of process {self.pid} is gone")
        if written != len(data):
            raise _os_error(errno.EFAULT)
