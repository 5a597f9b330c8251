# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What the path of a cgroup says about who runs the process.

::

    /system.slice/nginx.service                                             unit nginx.service
    /user.slice/user-1000.slice/user@1000.service/app.slice/web.service    units user@1000.service, web.service
    /system.slice/docker-0123...cdef.scope                                  docker, podman: libpod-
    /docker/0123...cdef                                                     docker, cgroupfs driver
    /kubepods.slice/.../cri-containerd-0123...cdef.scope                    containerd; CRI-O: crio-
    /kubepods/burstable/pod.../0123...cdef                                  Kubernetes, cgroupfs driver
    /lxc.payload.web/...                                                    LXC, by name

Sources: systemd src/basic/cgroup-util.c (cg_path_get_unit, cg_path_get_user_unit); the cgroup managers of
runc, crun, CRI-O and LXC.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

_UNIT = re.compile(r"\.(service|scope|socket|mount|swap)$")
_CONTAINER = re.compile(r"^(?:(?P<manager>[a-z][a-z0-9-]*)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?$")
_LXC = re.compile(r"^lxc\.payload[.](?P<name>.+)$")


def units(path: str) -> Tuple[str, ...]:
    """The systemd units of a cgroup: the system's, and inside of user@UID.service the user's own.

    Below a unit that was delegated (a container manager's) other names are that manager's, not systemd's.
    """
    found: List[str] = []
    for part in path.split("/"):
        if part.endswith(".slice") or not part:
            continue
        # systemd escapes names that the kernel would take for its own files
        name = part[1:] if part.startswith("_") else part
        if not _UNIT.search(name):
            break
        found.append(name)
        if not name.startswith("user@"):
            break
    return tuple(found)


def container(path: str) -> Optional[str]:
    """The id (64 hexadecimal digits) of the innermost container, an LXC container's name, or None.

    The monitors that container managers run outside (libpod-conmon-ID.scope) are in no container.
    """
    found = None
    parts = path.split("/")
    for index, part in enumerate(parts):
        match = _CONTAINER.match(part)
        if match and "conmon" not in (match.group("manager") or ""):
            found = match.group("id")
        lxc = _LXC.match(part)
        if lxc:
            found = lxc.group("name")
        elif part == "lxc" and index + 1 < len(parts):
            found = parts[index + 1]
    return found
