# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The build host's command line: ``livepatch build``, ``inspect``, ``sign``, ``verify``.

Never bundled: managed hosts have neither pyelftools nor a compiler.  It
translates words into a request and an answer into words, and decides nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import Any, Sequence

from .artifact import file as artifact_file
from .artifact import signature
from .build import inspection, patch_names, pipeline, signing
from .build.request import BuildRequest
from .errors import LivepatchError, Refused, UsageError
from .report import RUN_FAILED, STATUSES, WRONG_USAGE

#: Options that the specification has and this version refuses by name.
NOT_BUILT = ("source", "diff", "build-command", "package", "from", "to")

_KEY = "a private key, or a public one whose private half an agent or a token has"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (``report.STATUSES``)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LivepatchError as error:
        _say(options, {"status": error.status, "reason": error.reason, "message": error.message})
        return STATUSES[error.status]
    except UsageError as error:
        _say(options, {"status": "wrong_usage", "message": str(error)})
        return WRONG_USAGE
    except OSError as error:
        _say(options, {"status": "failed", "message": f"{error.filename or ''}: {error.strerror}"})
        return RUN_FAILED


class _HeaderPath(argparse.Action):
    """Prints and ends, like ``--help``: nothing else is required then."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        print(patch_names.INCLUDE)
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="livepatch", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    build = commands.add_parser("build", help="make an artifact", allow_abbrev=False)
    build.set_defaults(run=_build)
    build.add_argument(
        "--print-header-path", action=_HeaderPath, help="the folder of livepatch.h, for editors (-I), and nothing else"
    )
    build.add_argument("--target", required=True, metavar="FILE", help="the shipped program or library")
    build.add_argument("--debuginfo", metavar="FILE", help="its symbols and DWARF, where it is stripped")
    for age, what in (("old", "as the target was built"), ("new", "with the fix")):
        build.add_argument(f"--{age}-objects", nargs="+", default=[], metavar="FILE", help=f"objects, {what}")
        build.add_argument(
            f"--{age}-objects-noline", nargs="+", default=[], metavar="FILE",
            help="the same units built with -D__LINE__=0; they decide what changed",
        )  # fmt: skip
    build.add_argument("--patch-source", metavar="FILE", help="one C file that defines the functions anew")
    build.add_argument(
        "--cflags",
        action="append",
        default=[],
        metavar="'WORDS'",
        help="for its compiler, after our own: --cflags='-O2 -DX'",
    )
    build.add_argument("--cc", default="gcc", metavar="COMMAND", help="its compiler (gcc)")
    build.add_argument(
        "--accept-copy", action="append", default=[], metavar="NAME", dest="accept_copies",
        help="a function that holds an inlined copy of the old code, or a clone, and may go on running it",
    )  # fmt: skip
    build.add_argument("--name", required=True, help="of the patch")
    build.add_argument("--version", required=True, help="of the patch")
    build.add_argument("--description", default="", help="for people")
    build.add_argument("--cve", action="append", default=[], metavar="CVE-YEAR-NUMBER", help="what is fixed")
    for relation, help_text in (
        ("supersedes", "whose place it takes"),
        ("requires", "that must be in the process before"),
        ("conflicts", "that must not be in the process"),
    ):
        build.add_argument(
            f"--{relation}", action="append", default=[], metavar="NAME[=VERSION]", help=f"patch {help_text}"
        )
    build.add_argument("--sign-with", metavar="FILE", help=f"sign it: {_KEY}")
    build.add_argument("--dest", required=True, metavar="FILE", help="where the artifact goes")
    for name in NOT_BUILT:
        build.add_argument(f"--{name}", dest="not_built_" + name, help=argparse.SUPPRESS)
    inspect = commands.add_parser("inspect", help="say what an artifact does", allow_abbrev=False)
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("artifact", metavar="FILE")
    sign = commands.add_parser("sign", help="write FILE.sig beside an artifact", allow_abbrev=False)
    sign.set_defaults(run=_sign)
    sign.add_argument("artifact", metavar="FILE")
    sign.add_argument("--key", required=True, metavar="FILE", help=_KEY)
    verify = commands.add_parser("verify", help="say who signed an artifact, if that counts", allow_abbrev=False)
    verify.set_defaults(run=_verify)
    verify.add_argument("artifact", metavar="FILE")
    verify.add_argument(
        "--trusted-keys", required=True, metavar="FILE", help="who may: allowed signers, as in ssh-keygen(1)"
    )
    for command in (build, inspect, sign, verify):
        command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _build(options: argparse.Namespace) -> int:
    for name in NOT_BUILT:
        if getattr(options, "not_built_" + name) is not None:
            raise Refused("not_supported_yet", f"--{name} is not supported yet")
    fields = BuildRequest.__dataclass_fields__
    options.cflags = [word for words in options.cflags for word in shlex.split(words)]
    request = BuildRequest(**{name: getattr(options, name) for name in fields})
    built = pipeline.make(request)
    signed = None if options.sign_with is None else signing.sign(built.artifact.data, options.sign_with)
    _write(options.dest, built.artifact.data)
    if signed is not None:
        _write(options.dest + signature.SUFFIX, signed)
    answer = inspection.summary(built.artifact)
    answer.update(status="built", dest=options.dest, warnings=list(built.warnings))
    if options.json:
        _say(options, answer)
    else:
        for warning in built.warnings:
            print(f"livepatch: warning: {warning}", file=sys.stderr)
        print(f"{options.dest}: {inspection.headline(built.artifact)}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    artifact = artifact_file.read(options.artifact)
    if options.json:
        _say(options, {**inspection.summary(artifact), "manifest": artifact.manifest.to_json()})
    else:
        print("\n".join(inspection.describe(artifact)))
    return 0


def _sign(options: argparse.Namespace) -> int:
    artifact = artifact_file.read(options.artifact)
    path = options.artifact + signature.SUFFIX
    _write(path, signing.sign(artifact.data, options.key))
    if options.json:
        _say(options, {**inspection.summary(artifact), "status": "signed", "signature": path})
    else:
        print(f"{path}: signature of {inspection.headline(artifact)}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    artifact = artifact_file.read(options.artifact)
    with open(options.trusted_keys, "rb") as file:
        allowed = file.read(signature.MAX_SIGNERS + 1)
    signature.check_signers(allowed, options.trusted_keys)
    signer = signature.verify(artifact.data, signature.beside(options.artifact), allowed)
    if options.json:
        _say(options, {**inspection.summary(artifact), "status": "verified", **signer._asdict()})
    else:
        who = f"{signer.principal} with the {signer.key_type} key {signer.fingerprint}"
        print(f"{options.artifact}: signed by {who}")
    return 0


def _write(path: str, data: bytes) -> None:
    """The file appears whole or not at all; unchanged bytes leave the file alone."""
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return
    except FileNotFoundError:
        pass
    fresh = f"{path}.{os.getpid()}"
    try:
        with open(fresh, "xb") as file:
            file.write(data)
        os.replace(fresh, path)
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)


def _say(options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(answer, indent=1, sort_keys=True))
    elif "reason" in answer:
        print(f"livepatch: {answer['status']} ({answer['reason']}): {answer['message']}", file=sys.stderr)
    else:
        print(f"livepatch: {answer['message']}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
