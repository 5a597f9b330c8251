# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The file behind a mapping, opened whatever became of its name, and read once a job.

Three doors lead to it. Each may be closed, and only the first two are sure to be this very file::

    /proc/PID/exe                      the executable, also deleted or replaced
    /proc/PID/map_files/START-END      any mapped file, also deleted or replaced; CAP_CHECKPOINT_RESTORE
    /proc/PID/root/PATH                what stands at the path now, in the process's mount namespace
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Dict, Optional, Tuple

from ..elf import Malformed
from ..elf.file import ElfFile
from ..kernel import procfs
from ..kernel.procfs import Mapping

DELETED = " (deleted)"
_KEPT = 1 << 28  # bytes of files: a job reads the same few again and again

# Identity and contents: a file that is written to gets another time of change.
_Version = Tuple[int, int, int, int, int]  # device, inode, size, mtime, ctime
_files: Dict[_Version, Optional[ElfFile]] = {}
_texts: Dict[_Version, str] = {}


def without_deleted(path: str) -> str:
    """A path of /proc without the mark that its name is gone."""
    return path[: -len(DELETED)] if path.endswith(DELETED) else path


class MappedFile:
    """An ELF file that is mapped: `elf` and the identity of its text.

    :ivar elf: its contents; copied, because a file that is truncated under an mmap of ours would kill us
    """

    def __init__(self, elf: ElfFile, version: _Version) -> None:
        self.elf = elf
        self._version = version

    def text_sha256(self) -> str:
        """:meth:`ElfFile.text_sha256`, computed once for all processes that map the file.

        :raises Malformed: the file does not hold what its headers promise
        """
        if self._version not in _texts:
            _texts[self._version] = self.elf.text_sha256()
        return _texts[self._version]


def opened(task: int, mapping: Mapping, is_executable: bool) -> Optional[MappedFile]:
    """The file of a mapping of `task`, or None where no door leads to it (or it is no readable ELF).

    :param task: the process, or a living thread of it where its leader has exited
    :param is_executable: the mapping is of what /proc/PID/exe leads to
    :raises ProcessLookupError: the process is gone
    """
    doors = [f"/proc/{task}/exe"] if is_executable else []
    doors.append(procfs.map_file(task, mapping))
    if not mapping.path.endswith(DELETED):
        doors.append(procfs.in_root(task, mapping.path))
    for path in doors:
        found = _read(path, mapping)
        if found is not None:
            return found
    procfs.stat(task)  # closed doors and a process that is gone look alike
    return None


def _read(path: str, mapping: Mapping) -> Optional[MappedFile]:
    try:
        # Opening a device or a FIFO that somebody put there could do things.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return None
    try:
        status = os.fstat(descriptor)
        # The device is not compared: on btrfs and overlayfs maps shows another one than stat (show_map_vma).
        if status.st_ino != mapping.inode:
            return None
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if version not in _files:
            while _files and sum(each[2] for each in _files) + status.st_size > _KEPT:
                del _files[next(iter(_files))]  # the oldest
            try:
                _files[version] = ElfFile(_whole(descriptor, status.st_size), mapping.path)
            except Malformed:
                _files[version] = None
        elf = _files[version]
        return None if elf is None else MappedFile(elf, version)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _whole(descriptor: int, size: int) -> bytes:
    pieces = []
    position = 0
    while position < size:
        piece = os.pread(descriptor, size - position, position)
        if not piece:
            break
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)
