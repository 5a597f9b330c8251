# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Whose patches are accepted here: what the job says, and what the host itself says, whatever the job says.

The host's own list is ``/etc/livepatch/allowed_signers``.  Where it is, it
counts; where it is and can not be trusted, nothing is accepted.  Patches are
taken out without any of this: that must always be possible.
"""

from __future__ import annotations

import os
import stat
from typing import List, Mapping, NamedTuple, Optional

from ..artifact import signature
from ..artifact.file import Artifact
from ..errors import Refused

FOLDER = "/etc/livepatch"
NAME = "allowed_signers"
_OWNER = 0  # root


class Demand(NamedTuple):
    """One list of allowed signers that an artifact's signer must be in, and where it comes from."""

    where: str
    allowed: bytes


def check(artifact: Artifact, path: str, sent: Mapping[str, str], trusted_keys: Optional[str]) -> None:
    """See that an allowed signer signed the artifact, by every list that there is; without one, nobody need have.

    :param path: where the artifact was read; its signature lies beside it
    :param sent: artifact id -> signature, of those that came with the job
    :param trusted_keys: the job's parameter, the text of a list
    :raises Refused: ``not_signed``, ``bad_signature``, ``signer_not_allowed``, ``signers_unusable``, ``no_verifier``
    """
    lists = [] if trusted_keys is None else [Demand("trusted_keys", trusted_keys.encode("utf-8", "surrogateescape"))]
    lists += _of_this_host()
    for demand in lists:
        signature.check_signers(demand.allowed, demand.where)
        title = f"{artifact.manifest.name} {artifact.manifest.version}, by {demand.where}"
        try:
            text = sent[artifact.id].encode() if artifact.id in sent else signature.beside(path)
            signature.verify(artifact.data, text, demand.allowed)
        except Refused as refusal:
            raise Refused(refusal.reason, f"{title}: {refusal.what}") from refusal


def _of_this_host() -> List[Demand]:
    """The host's own list, if it has one.

    Opened step by step without following links, and looked at through the open
    file: nobody but root had a hand in what is read.

    :raises Refused: ``signers_unusable``: it is there and can not be read, or others than root could write it
    """
    where = os.path.join(FOLDER, NAME)
    handles = []
    try:
        try:
            handles.append(os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handles.append(os.open(NAME, flags, dir_fd=handles[0]))
        except FileNotFoundError:
            return []
        for handle, path, kind in ((handles[0], FOLDER, stat.S_ISDIR), (handles[1], where, stat.S_ISREG)):
            state = os.fstat(handle)
            if not kind(state.st_mode) or state.st_uid != _OWNER or state.st_mode & 0o022:
                what = f"{path} is user {state.st_uid}'s, mode {stat.S_IMODE(state.st_mode):04o}"
                raise Refused("signers_unusable", f"{what}; it must be root's own, and nobody else's to write")
        allowed = b""
        while len(allowed) <= signature.MAX_SIGNERS:  # one that is too long is refused where it is read
            block = os.read(handles[1], signature.MAX_SIGNERS)
            if not block:
                break
            allowed += block
        return [Demand(where, allowed)]
    except OSError as error:
        raise Refused("signers_unusable", f"{where} is there and can not be read: {error.strerror}") from error
    finally:
        for handle in handles:
            os.close(handle)
