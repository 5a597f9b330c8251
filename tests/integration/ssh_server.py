# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenSSH server of our own on the loopback interface, with keys and configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
Subsystem sftp internal-sftp
"""


class SshServer:
    """A server that lets the test's user in with the test's key, from ``with`` to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # what systemd or the init script would make
        # A port that is free now may be taken in a moment: then sshd says so, and another is tried.
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.port: int = probe.getsockname()[1]
            if self._start():
                return
        raise AssertionError("sshd found no port to listen on")

    def _start(self) -> bool:
        configuration = self._folder / "sshd_config"
        configuration.write_text(_CONFIGURATION.format(port=self.port, folder=self._folder))
        sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
        assert sshd, "openssh-server is not installed"
        self._server = subprocess.Popen([sshd, "-D", "-e", "-f", configuration], stderr=subprocess.PIPE)
        assert self._server.stderr is not None
        said = b""
        for line in self._server.stderr:
            said += line
            if b"Server listening" in line:
                # What it says from now on is read, so that a full pipe does not stop it.
                threading.Thread(target=self._server.stderr.read, daemon=True).start()
                return True
        self._server.wait()
        if b"Address already in use" in said:
            return False
        raise AssertionError(said.decode())

    def __enter__(self) -> SshServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A session that a client keeps open outlives it, for as long as the client says below.
        self._server.terminate()
        self._server.wait()

    def variables(self) -> dict[str, Any]:
        """What an inventory says to reach it, over ``ssh`` or ``paramiko_ssh``."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self._folder / "user_key"),
            "ansible_host_key_checking": False,
            "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=10s",
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        }
