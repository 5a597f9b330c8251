# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""namespaces(7) of a process: which one it is in, and what its UTS namespace is called."""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWUTS = 0x04000000  # <linux/sched.h>

_setns = ctypes.CDLL(None, use_errno=True).setns


def identity(pid: int, kind: str) -> str:
    """The name of a namespace of a process, as ``uts:[4026531838]``; the same for all its members.

    :param kind: a file of /proc/PID/ns: "mnt", "uts", "pid", ...
    :raises ProcessLookupError: the process is gone
    :raises PermissionError: PTRACE_MODE_READ was denied
    """
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, f"process {pid} is gone") from error


def hostname(pid: int) -> str:
    """The host name in the UTS namespace of a process (a pod's name, in a pod).

    No file shows it from outside (/proc/sys/kernel/hostname answers for whoever reads it), so a child of
    ours enters the namespace, looks, and ends.  The process itself takes no part in it.

    :raises ProcessLookupError: the process is gone
    :raises OSError: EPERM: it takes CAP_SYS_ADMIN in the user namespace that owns it (setns(2))
    """
    if identity(pid, "uts") == identity(os.getpid(), "uts"):
        return os.uname().nodename
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b""
        try:
            descriptor = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
            if _setns(descriptor, _CLONE_NEWUTS) == 0:
                answer = b"=" + os.fsencode(os.uname().nodename)
            else:
                answer = str(ctypes.get_errno()).encode()
        except OSError as error:
            answer = str(error.errno).encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if answer.startswith(b"="):
        return os.fsdecode(answer[1:])
    number = int(answer or b"5")
    raise OSError(number, f"UTS namespace of process {pid}: {os.strerror(number)}")
