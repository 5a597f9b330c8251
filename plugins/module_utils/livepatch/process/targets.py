# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which processes map the target.

Hundreds of processes map the same few files, so a file is asked for its identity once: where its first
page is mapped, what it is called, and in which mount namespace is enough to know it again.
"""

from __future__ import annotations

import enum
import os
import posixpath
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..elf import Malformed
from ..elf.loaded import LoadedImage
from ..errors import Refused, UsageError
from ..kernel import namespaces, procfs
from ..kernel.memory import Memory
from . import images, snapshot
from .mapped_file import without_deleted
from .selection import SELECTION_KEYS, Selection

__all__ = ["SELECTION_KEYS", "Found", "Identity", "Verdict", "find"]


class Identity(NamedTuple):
    """What identifies the file that an artifact is for.

    :ivar build_id: hexadecimal digits; None: it has none, and `text_sha256` identifies it
    :ivar name: its file name, for people, and to tell another build of it from another file
    """

    build_id: Optional[str]
    text_sha256: str
    name: str


class Verdict(enum.Enum):
    """What looking for the target in one process gave."""

    MATCH = "match"  # it maps the target (or nothing was looked for)
    NO_MATCH = "no_match"  # it was selected, and does not map the target
    UNSEEN = "unseen"  # it could not be looked at
    GONE = "gone"


@dataclass(frozen=True)
class Found:
    """One process that the selection means.

    :ivar start_time: clock ticks after boot; 0 where it is gone
    :ivar error: why not, for NO_MATCH (``build_id_mismatch``, ``target_not_mapped``) and UNSEEN
        (``not_permitted``, ``kernel_thread``, ``exiting``)
    """

    pid: int
    start_time: int
    verdict: Verdict
    error: Optional[Refused] = None


def find(keys: Mapping[str, Any], target: Optional[Identity] = None) -> List[Found]:
    """The processes that a selection means, in order of PID.

    An empty selection means every process that maps the target, in any mount namespace: whoever does not is
    left out, but for those that we may not look at (UNSEEN). With keys, who was selected and does not map
    the target is in the result, too. Without a target everybody selected is a MATCH.

    We ourselves are never meant.

    :raises UsageError: a key or value that can not be meant
    """
    selection = Selection(keys)
    if selection.pids is not None and os.getpid() in selection.pids:
        raise UsageError(f"processes: pid {os.getpid()} is livepatch itself")
    finder = _Finder(selection, target)
    results = [finder.look(pid) for pid in selection.candidates() if pid != os.getpid()]
    return [found for found in results if found is not None]


class _Finder:
    def __init__(self, selection: Selection, target: Optional[Identity]) -> None:
        self._selection = selection
        self._target = target
        self._identities: Dict[Tuple[str, str, int, str], Optional[str]] = {}

    def look(self, pid: int) -> Optional[Found]:
        named = self._selection.pids is not None
        start_time = 0
        try:
            stat = procfs.stat(pid)
            start_time = stat.start_time
            if stat.flags & snapshot.PF_KTHREAD:
                raise Refused("kernel_thread", f"process {pid} ({stat.comm}) is a kernel thread")
            task = snapshot.memory_task(pid)
            if not self._selection.matches(pid, task):
                return None
            if self._target is None:
                return Found(pid, start_time, Verdict.MATCH)
            return self._judge(pid, task, start_time, self._target)
        except ProcessLookupError:
            return Found(pid, start_time, Verdict.GONE) if named else None
        except Refused as error:
            return Found(pid, start_time, Verdict.UNSEEN, error) if named else None
        except PermissionError as error:
            refused = Refused("not_permitted", f"process {pid} may not be looked at: {error}")
            return Found(pid, start_time, Verdict.UNSEEN, refused)

    def _judge(self, pid: int, task: int, start_time: int, target: Identity) -> Optional[Found]:
        mappings = procfs.maps(task)
        other_builds = []
        with _LazyMemory(pid, task) as memory:
            mount_namespace = namespaces.identity(task, "mnt")
            for index, mapping in enumerate(mappings):
                if mapping.offset or not mapping.inode or not (mapping.readable and mapping.private):
                    continue
                key = (mount_namespace, mapping.device, mapping.inode, mapping.path)
                if key not in self._identities:
                    self._identities[key] = self._identity(task, mappings, index, memory)
                identity = self._identities[key]
                if identity is None:
                    continue
                # The file is the target; but is it mapped as an image, or did somebody only read it?
                if identity == (target.build_id or target.text_sha256) and images.at(
                    task, mappings, index, memory.read, ""
                ):
                    return Found(pid, start_time, Verdict.MATCH)
                if posixpath.basename(without_deleted(mapping.path)) == target.name:
                    other_builds.append(f"{mapping.path} ({identity})")
        if self._selection.empty:
            return None
        if other_builds:
            wanted = target.build_id or target.text_sha256
            error = Refused(
                "build_id_mismatch", f"process {pid} maps {', '.join(other_builds)}, the patch is for {wanted}"
            )
        else:
            error = Refused("target_not_mapped", f"process {pid} does not map {target.name}")
        return Found(pid, start_time, Verdict.NO_MATCH, error)

    def _identity(
        self, task: int, mappings: Sequence[procfs.Mapping], index: int, memory: _LazyMemory
    ) -> Optional[str]:
        """Build ID of the file whose first page this is, else the hash of its text; None: no ELF file.

        The hash is only asked for where the target is known by it: it takes reading the whole file.
        """
        try:
            build_id = LoadedImage(memory.read, mappings[index].start).build_id()
            if build_id is not None or self._target is None or self._target.build_id is not None:
                return build_id
        except ProcessLookupError:
            raise
        except (Malformed, OSError):
            return None
        image = images.at(task, mappings, index, memory.read, "")
        return None if image is None else image.text_sha256()


class _LazyMemory:
    """The memory of a process, opened when the first page is read: mostly every file is known already."""

    def __init__(self, pid: int, task: int) -> None:
        self._pid = pid
        self._task = task
        self._memory: Optional[Memory] = None

    def read(self, address: int, size: int) -> bytes:
        if self._memory is None:
            self._memory = Memory(self._pid, None if self._task == self._pid else self._task)
        return self._memory.read(address, size)

    def __enter__(self) -> _LazyMemory:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._memory is not None:
            self._memory.close()
