# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units and containers by the paths that systemd and the container managers make."""

from __future__ import annotations

import pytest

from livepatch.process.cgroups import container, units

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/system.slice/nginx.service", ("nginx.service",)),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", ("postgresql@15-main.service",)),
        ("/system.slice/app.service/worker/1", ("app.service",)),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", ("user@1000.service", "web.service")),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", ("user@1000.service", "init.scope")),
        ("/user.slice/user-0.slice/session-3.scope", ("session-3.scope",)),
        ("/system.slice/_cgroup.service", ("cgroup.service",)),
        ("/init.scope", ("init.scope",)),
        (f"/docker/{ID}", ()),
        ("/", ()),
        ("", ()),
    ],
)
def test_units_of_a_cgroup(path, expected) -> None:
    assert units(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/docker/{ID}", ID),
        (f"/system.slice/docker-{ID}.scope", ID),
        (f"/machine.slice/libpod-{ID}.scope/container", ID),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", ID),
        (f"/machine.slice/libpod-conmon-{ID}.scope", None),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{ID}.scope", ID),
        (f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope", ID),
        (f"/kubepods.slice/crio-conmon-{ID}.scope", None),
        (f"/kubepods/burstable/pod12-34/{ID}", ID),
        (f"/docker/{ID}/docker/{ID[::-1]}", ID[::-1]),
        ("/lxc.payload.web/system.slice/nginx.service", "web"),
        ("/lxc/web/init.scope", "web"),
        ("/system.slice/nginx.service", None),
        ("/", None),
    ],
)
def test_container_of_a_cgroup(path, expected) -> None:
    assert container(path) == expected
