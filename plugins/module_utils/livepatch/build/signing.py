# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Sign an artifact with a key that people have: OpenSSH's own ``ssh-keygen -Y sign``.

So keys in an agent, on a FIDO token or with a certificate work, and a
passphrase is asked for on the terminal, by ssh-keygen itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from ..artifact.signature import NAMESPACE
from ..errors import Refused, UsageError


def sign(data: bytes, key: str) -> bytes:
    """The armored signature (SSHSIG) of ``data``.

    :param key: a private key file; or a public key or certificate whose private half an agent has or lies beside it
    :raises UsageError: there is no such file
    :raises Refused: ``signing_failed``
    """
    if not os.path.isfile(key):
        raise UsageError(f"the key {key} is not there, or is no file")
    # A file of our own for ssh-keygen to read: what comes on its standard input it takes for a passphrase where there
    # is no terminal.
    with tempfile.TemporaryDirectory(prefix="livepatch-sign-") as folder:  # 0700
        path = os.path.join(folder, "artifact")
        with open(path, "wb") as file:
            file.write(data)
        line = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", key, path]
        # A token wants to be touched, and ssh-keygen says so on the terminal.
        people = sys.stderr.isatty()
        try:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None if people else subprocess.PIPE
            )
        except OSError as error:
            raise Refused("signing_failed", f"ssh-keygen can not be run: {error.strerror}") from error
        if done.returncode != 0:
            words = (done.stderr or b"").decode(errors="replace").replace("Enter passphrase: ", "").split("\n")
            said = "; ".join(filter(None, map(str.strip, words)))
            raise Refused("signing_failed", f"ssh-keygen could not sign with {key}{': ' + said if said else ''}")
        with open(path + ".sig", "rb") as file:
            return file.read()
