# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and signatures of a test's own, made by ssh-keygen the way people make them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


def keygen(*arguments: object, data: bytes | None = None) -> bytes:
    """Run ssh-keygen, which must succeed; its standard output."""
    line = ["ssh-keygen", *map(str, arguments)]
    done = subprocess.run(line, input=data or b"", capture_output=True, timeout=60)
    assert done.returncode == 0, (line, done.stderr.decode())
    return done.stdout


@dataclass(frozen=True)
class Key:
    """A private key file without a passphrase, its public half beside it.

    :ivar signs_with: the file that signs: the key, or its certificate
    """

    path: Path
    signs_with: Path

    @classmethod
    def make(cls, folder: Path, name: str, kind: str = "ed25519") -> Key:
        """A new key pair ``folder/name``, ``folder/name.pub``."""
        path = folder / name
        keygen("-q", "-t", kind, "-N", "", "-C", f"{name} of a test", "-f", path)
        return cls(path, path)

    @property
    def public(self) -> str:
        """One line: type, key, comment."""
        return self.path.with_name(self.path.name + ".pub").read_text().strip()

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``"""
        return keygen("-l", "-f", self.path).decode().split()[1]

    def allowed(self, principal: str = "ops@example.com", options: str = "") -> str:
        """One line of a list of allowed signers."""
        return " ".join(filter(None, [principal, options, self.public])) + "\n"

    def sign(self, data: bytes, namespace: str = "livepatch") -> bytes:
        """The armored signature."""
        return keygen("-q", "-Y", "sign", "-n", namespace, "-f", self.signs_with, data=data)

    def sign_file(self, artifact: Path, namespace: str = "livepatch") -> Path:
        """The signature as the file beside the artifact."""
        beside = artifact.with_name(artifact.name + ".sig")
        beside.write_bytes(self.sign(artifact.read_bytes(), namespace))
        return beside

    def certified_by(self, authority: Key, principals: str) -> Key:
        """The same key, signing with a certificate."""
        public = self.path.with_name(self.path.name + ".pub")
        keygen("-q", "-s", authority.path, "-I", "test", "-n", principals, public)
        return Key(self.path, self.path.with_name(self.path.name + "-cert.pub"))
