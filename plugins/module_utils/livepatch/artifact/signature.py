# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Who signed an artifact, and whether that counts: OpenSSH's own ``ssh-keygen -Y``, with the keys people have.

::

    artifact bytes ──┐   check-novalidate   the signature is right, whoever made it   else bad_signature
    NAME.lp.o.sig ───┼─▶ find-principals    its key stands in the list                else signer_not_allowed
    allowed signers ─┘   verify             for this namespace, at this time          else signer_not_allowed

The last step alone decides; the others find the words for a refusal.  What is
verified are the bytes in memory, those that are parsed and applied: no file is
read a second time.  ssh-keygen(1), "ALLOWED SIGNERS"; PROTOCOL.sshsig in OpenSSH.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from contextlib import contextmanager
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ..errors import Refused
from .file import contents
from .shapes import shown

NAMESPACE = "livepatch"
SUFFIX = ".sig"
MAX_SIGNATURE = 64 << 10  # bytes; an RSA-16384 signature with a certificate has less than ten thousand
MAX_SIGNERS = 256 << 10  # bytes of a list of allowed signers

# Not $PATH: whoever calls us must not choose who verifies.
_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_DEADLINE = 30.0  # seconds for one run of ssh-keygen, which takes some milliseconds
_SAID = 300  # characters of ssh-keygen's words that a message repeats
_MOST_PRINCIPALS = 100

# A signature that is known to be right: where it is not confirmed, it is ssh-keygen that can not verify. ECDSA, which
# every crypto policy allows.
_KNOWN_DATA = b"livepatch"
_KNOWN_KEY = (
    b"known ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBM/gd8sY7AwwsUzPVe5DS6pp8QKptR5i"
    b"QM11lkbJ6ya5bdYMUZ/0qQtgOO7Mqmh5LoJ249DFRx3kNAW7DO5cxzk=\n"
)
_KNOWN_SIGNATURE = b"""\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EEz+B3yxjsDDCxTM9V7kNLqmnxAqm1HmJAzXWWRsnrJrlt1gxRn/SpC2A47syqaHkugnbj
0MVHHeQ0BbsM7lzHOQAAAAlsaXZlcGF0Y2gAAAAAAAAABnNoYTUxMgAAAGUAAAATZWNkc2
Etc2hhMi1uaXN0cDI1NgAAAEoAAAAhAL4qCQjiaB9V+5NGEq3q0azSg6babLgUzMwVvNgM
OiuUAAAAIQDkp7lfh14O35u4UFS/5gZlRYlwMDy4ylf4uuSgcx2B9A==
-----END SSH SIGNATURE-----
"""


class Signer(NamedTuple):
    """Who signed: the principal of the list, the key's type (``ED25519``) and fingerprint (``SHA256:...``)."""

    principal: str
    key_type: str
    fingerprint: str


def beside(path: str) -> bytes:
    """The signature of the artifact at ``path``: the file ``path`` + ``.sig``.

    :raises Refused: ``not_signed``: there is none; ``bad_signature``: it can not be read
    """
    name = path + SUFFIX
    try:
        return contents(name, MAX_SIGNATURE)
    except (FileNotFoundError, NotADirectoryError):
        raise Refused("not_signed", f"there is no signature {shown(os.path.basename(name))} beside it") from None
    except OSError as error:
        raise Refused("bad_signature", f"{shown(name)}: {error.strerror}") from error


def verify(data: bytes, signature: bytes, allowed: bytes) -> Signer:
    """Who signed ``data``, if the list of allowed signers has that signer.

    :param signature: SSHSIG, armored, as ``ssh-keygen -Y sign -n livepatch`` writes it
    :param allowed: a list of allowed signers, ssh-keygen(1); an empty one allows nobody
    :raises Refused: ``bad_signature``; ``signer_not_allowed``; ``signers_unusable``: the list is none;
        ``no_verifier``: there is no OpenSSH here that can tell
    """
    check_signers(allowed, "the list of allowed signers")
    program = _program()
    if len(signature) > MAX_SIGNATURE:
        raise Refused("bad_signature", f"the signature has more than {MAX_SIGNATURE} bytes")
    with _files(signature, allowed) as paths:
        right, said, why = _run(program, "check-novalidate", paths, data)
        if not right:
            _demand_verifier(program)
            raise Refused("bad_signature", f"the signature is not one of these bytes for livepatch ({_short(why)})")
        key = re.search(r"with (\S+) key (\S+)\s*$", said)
        key_type, fingerprint = key.groups() if key else ("?", "?")
        _, said, why = _run(program, "find-principals", paths)
        for principal in said.splitlines()[:_MOST_PRINCIPALS]:
            # "!bob" in a list of patterns is nobody who could sign
            if principal and not principal.startswith("!"):
                good, _, why = _run(program, "verify", paths, data, principal)
                if good:
                    return Signer(principal, key_type, fingerprint)
    _demand_verifier(program)
    what = f"it is signed with the {key_type} key {fingerprint}, which is not allowed"
    raise Refused("signer_not_allowed", f"{what} ({_short(why)})")


def check_signers(allowed: bytes, where: str) -> None:
    """Each line of a list of allowed signers is empty, a comment, or has principals and a public key.

    ssh-keygen passes over lines that it can not read; who wrote one meant something else than nothing.

    :param where: what the list is, for the message
    :raises Refused: ``signers_unusable``, with the line's number
    """
    if len(allowed) > MAX_SIGNERS:
        raise Refused("signers_unusable", f"{where} has more than {MAX_SIGNERS} bytes")
    if b"\0" in allowed:
        raise Refused("signers_unusable", f"{where} holds a NUL byte: it is no text")
    for number, line in enumerate(allowed.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if not any(_is_key(word) for word in words[2:]):
            what = f"{where}, line {number}: no principals and public key as ssh-keygen has them"
            raise Refused("signers_unusable", what)


def _is_key(word: bytes) -> bool:
    """Whether a word is the base64 of a public key: first of all, the length and the name of its type."""
    try:
        blob = base64.b64decode(word, validate=True)
    except binascii.Error:
        return False
    name = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
    return len(blob) > 4 + len(name) and re.fullmatch(rb"[a-z0-9][a-z0-9@.-]{2,63}", name) is not None


def _program() -> str:
    """:raises Refused: ``no_verifier``"""
    for folder in _FOLDERS:
        path = os.path.join(folder, "ssh-keygen")
        if os.access(path, os.X_OK):
            return path
    raise Refused("no_verifier", f"there is no ssh-keygen in {', '.join(_FOLDERS)}")


def _demand_verifier(program: str) -> None:
    """:raises Refused: ``no_verifier``: this ssh-keygen does not even confirm what is known to be right"""
    with _files(_KNOWN_SIGNATURE, _KNOWN_KEY) as paths:
        _, found, why = _run(program, "find-principals", paths)
        good = found == "known\n" and _run(program, "verify", paths, _KNOWN_DATA, "known")[0]
    if not good:
        raise Refused("no_verifier", f"{program} can not verify signatures ({_short(why)})")


@contextmanager
def _files(signature: bytes, allowed: bytes) -> Iterator[Tuple[str, str]]:
    """Both as files that ssh-keygen can open and nobody else can replace; they go with the block."""
    if not hasattr(os, "memfd_create"):  # a controller that is no Linux
        import tempfile

        with tempfile.TemporaryDirectory(prefix="livepatch-") as folder:  # 0700
            paths = (os.path.join(folder, "signature"), os.path.join(folder, "allowed"))
            for path, content in zip(paths, (signature, allowed)):
                with open(path, "wb") as file:
                    file.write(content)
            yield paths
        return
    handles: List[int] = []
    try:
        for content in (signature, allowed):
            handles.append(os.memfd_create("livepatch-signature"))
            with open(os.dup(handles[-1]), "wb") as file:
                file.write(content)
        yield f"/proc/{os.getpid()}/fd/{handles[0]}", f"/proc/{os.getpid()}/fd/{handles[1]}"
    except OSError as error:
        raise Refused("no_verifier", f"nothing could be prepared for ssh-keygen: {error}") from error
    finally:
        for handle in handles:
            os.close(handle)


def _run(
    program: str, act: str, paths: Tuple[str, str], data: Optional[bytes] = None, principal: Optional[str] = None
) -> Tuple[bool, str, str]:
    """``ssh-keygen -Y ACT``: whether it said yes, its standard output and its standard error.

    :raises Refused: ``no_verifier``: it could not be run, or did not come to an end
    """
    import subprocess  # 20 ms, which only who demands signatures pays

    signature, allowed = paths
    line = [program, "-Y", act, "-s", signature]
    line += [] if data is None else ["-n", NAMESPACE]
    line += [] if act == "check-novalidate" else ["-f", allowed]
    line += [] if principal is None else ["-I", principal]
    try:
        done = subprocess.run(
            line, input=data or b"", capture_output=True, env=_ENVIRONMENT, cwd="/", timeout=_DEADLINE
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused("no_verifier", f"{program} can not be run: {error}") from error
    return done.returncode == 0, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _short(said: str) -> str:
    """ssh-keygen's reasons in one line, without the names of our files."""
    lines = [re.sub(r"^/\S+?(?=:\d+:)", "line", text.strip()) for text in said.splitlines()]
    text = "; ".join(line.rstrip(".") for line in lines if line) or "ssh-keygen did not say why"
    return "".join(each if each.isprintable() else "?" for each in text)[:_SAID]
