# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the injector on this host, start it, and speak JSON with it.

All that a module of this collection imports: AnsiballZ ships whatever a module
imports, and the injector's rooms travel in the bundle instead, once per host.

::

    /var/cache/livepatch/            root's; of others ~/.cache/livepatch. 0700, its owner's
      livepatch-<sha256>.pyz         the bundle as it was pushed; its name is its content
      livepatch-<sha256>.<tag>/      the bundle unpacked and compiled for one interpreter
        tree.sha256                  what unpacking left there, source and compiled
      artifacts/<sha256>.lp.o        patches, by content

Everything here can be pushed or made again: deleting the folder costs the next
task a second and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pwd
import py_compile
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

JOB_FORMAT = 1
REPORT_FORMAT = 1
_ARTIFACTS = "artifacts"
_SUFFIX = ".lp.o"
_UNUSED = 30 * 24 * 3600  # seconds
_FACTS = 10  # artifacts that the facts name: facts stay with the host, and in caches of them
_STDERR_TAIL = 2000  # characters of the injector's standard error that a failure shows

# What both modules ask for; doc_fragments/attributes.py documents it.
ARTIFACTS: Dict[str, Dict[str, Any]] = {
    "artifact": {"type": "path"},
    "artifacts": {"type": "list", "elements": "path"},
    "remote_src": {"type": "bool", "default": False},
    "_push": {"type": "dict"},  # from the action plugin, see carry_out
}
# On the controller a path; the action plugin passes what the file holds. Public keys are no secret.
TRUSTED_KEYS: Dict[str, Any] = {"type": "str", "no_log": False}
PROCESSES: Dict[str, Any] = {
    "type": "dict",
    "default": {},
    "options": {
        "pid": {"type": "list", "elements": "int"},
        **{
            name: {"type": "str"}
            for name in ("exe", "name", "cmdline", "user", "unit", "cgroup", "container", "hostname")
        },
    },
}


class InjectorError(Exception):
    """The injector could not be started, or did not answer as it should; for a person."""


class Cache:
    """The folder on this host that holds bundles and artifacts.

    It is opened once, without following links below the user's home, and
    everything in it is reached through that descriptor: nobody can put another
    folder in its place meanwhile.

    :raises InjectorError: it can not be made, or is not the effective user's alone
    """

    def __init__(self, base: Optional[str] = None, *names: str) -> None:
        """:param base: an existing folder, and below it ``names``; without it, the effective user's place"""
        if base is None:
            base, names = _place()
        self.path = os.path.join(base, *names)
        try:
            self._folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
            for name in names:
                self._folder = _opened_below(self._folder, name)
            self._artifacts = _opened_below(os.dup(self._folder), _ARTIFACTS)
        except OSError as error:
            raise InjectorError(
                f"The cache folder {self.path} can not be used: {error.strerror} ({error.filename or base})."
            ) from None
        _demand_private(self._folder, self.path)
        _demand_private(self._artifacts, os.path.join(self.path, _ARTIFACTS))

    def bundle(self, sha256: str) -> Optional[bytes]:
        """The bundle that is here, whole and unaltered; else None."""
        return _read_verified(self._folder, _bundle_name(sha256), sha256)

    def artifact(self, sha256: str) -> Optional[str]:
        """The path of an artifact that is here, whole and unaltered; else None."""
        if _read_verified(self._artifacts, sha256 + _SUFFIX, sha256) is None:
            return None
        return os.path.join(self.path, _ARTIFACTS, sha256 + _SUFFIX)

    def take_bundle(self, source: str, sha256: str) -> None:
        """Copy a pushed bundle into the cache.  :raises InjectorError: other bytes than announced"""
        _install(source, sha256, self._folder, _bundle_name(sha256))

    def take_artifact(self, source: str, sha256: str) -> None:
        """Copy a pushed artifact into the cache.  :raises InjectorError: other bytes than announced"""
        _install(source, sha256, self._artifacts, sha256 + _SUFFIX)

    def program(self, sha256: str, bundle: bytes) -> str:
        """The path of ``bundle``, and compiled; made where it is missing or not as it was left.

        Imports from it are several times cheaper than from a zip.  That owner
        and mode keep others out is checked before (the tree has 0700 as well);
        the digest over the whole tree finds what a full disk, a power cut or a
        well-meant edit left there, and costs less than ten milliseconds.

        :raises InjectorError: it can not be unpacked
        """
        name = f"livepatch-{sha256}.{sys.implementation.cache_tag}"
        tree = os.path.join(self.path, name)
        if not _is_as_it_was_left(tree):
            try:
                self._unpack(bundle, tree)
            except OSError as error:
                raise InjectorError(f"The bundle can not be unpacked to {tree}: {error}.") from None
            self._forget_unused()
        os.utime(tree)
        os.utime(_bundle_name(sha256), dir_fd=self._folder)
        return tree

    def _forget_unused(self) -> None:
        """Remove bundles, and what came of them, that nobody has started for a month: each upgrade brings one."""
        for name in os.listdir(self._folder):
            try:
                state = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            except FileNotFoundError:  # another task's unfinished one
                continue
            if name != _ARTIFACTS and time.time() - state.st_mtime > _UNUSED:
                path = os.path.join(self.path, name)
                if stat.S_ISDIR(state.st_mode):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    os.unlink(path)

    def _unpack(self, bundle: bytes, tree: str) -> None:
        new = tempfile.mkdtemp(dir=self.path, prefix=".new-")  # 0700
        try:
            with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
                archive.extractall(new)  # members can not leave it: zipfile drops "..", and the digest is ours
            for source in _files(new):
                if source.endswith(".py"):
                    # The source's hash in place of its time: what unpacking did to times does not matter.
                    py_compile.compile(
                        source,
                        dfile=os.path.join(tree, os.path.relpath(source, new)),  # for tracebacks
                        doraise=True,
                        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                    )
            with open(os.path.join(new, "tree.sha256"), "w", encoding="ascii") as file:
                file.write(_tree_digest(new))
            try:
                os.rename(new, tree)
            except OSError:
                # Another task was faster, or what stood there is damaged.
                if not _is_as_it_was_left(tree):
                    shutil.rmtree(tree, ignore_errors=True)
                    os.rename(new, tree)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _place() -> Tuple[str, Tuple[str, ...]]:
    if os.geteuid() == 0:
        return "/var/cache", ("livepatch",)
    # Not $HOME: become may leave there the home of whom we were before.
    return pwd.getpwuid(os.geteuid()).pw_dir, (".cache", "livepatch")


def _bundle_name(sha256: str) -> str:
    return f"livepatch-{sha256}.pyz"


def _opened_below(parent: int, name: str) -> int:
    """The folder ``name`` in ``parent``, made 0700 where it is missing; closes ``parent``."""
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)


def _demand_private(folder: int, path: str) -> None:
    """:raises InjectorError: somebody else than the effective user owns or may enter the folder"""
    state = os.fstat(folder)
    if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise InjectorError(
            f"The cache folder {path} must be user {os.geteuid()}'s own, mode 0700;"
            f" it is user {state.st_uid}'s, mode {stat.S_IMODE(state.st_mode):04o}. Nothing in it was used."
        )


def _read_verified(folder: int, name: str, sha256: str) -> Optional[bytes]:
    """The file's bytes where it is ours, a regular file and has this digest; else None."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with open(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
            return None
        content = file.read()
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def _install(source: str, sha256: str, folder: int, name: str) -> None:
    """Copy ``source`` to ``name`` in ``folder``; the name appears with all of its content or not at all."""
    try:
        with open(source, "rb") as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise InjectorError(f"{name} arrived with other bytes than were sent ({len(content)} bytes). Try again.")
        unfinished = f".{os.getpid()}-{name}"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with open(handle, "wb") as file:
            file.write(content)
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise InjectorError(f"{name} can not be copied into the cache: {error.strerror}.") from None


def _files(tree: str) -> List[str]:
    """Every file of the tree, sorted."""
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(tree) for name in names)


def _tree_digest(tree: str) -> str:
    """SHA-256 over names, sizes and bytes of the tree's files: one more, one less, one altered shows."""
    digest = hashlib.sha256()
    for path in _files(tree):
        name = os.path.relpath(path, tree)
        if name != "tree.sha256":
            with open(path, "rb") as file:
                content = file.read()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _is_as_it_was_left(tree: str) -> bool:
    try:
        state = os.lstat(tree)
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
            return False
        with open(os.path.join(tree, "tree.sha256"), encoding="ascii") as file:
            return file.read() == _tree_digest(tree)
    except (OSError, UnicodeDecodeError):
        return False


def run(program: str, job: Mapping[str, Any]) -> Dict[str, Any]:
    """Give the injector a job; its report.

    It runs as a session of its own: a lost connection or a kill of this module
    does not cut it off in the middle.  SIGTERM, SIGINT and SIGHUP are passed on;
    to the injector they mean: finish the step, undo, leave.

    :param program: what Python can run: an unpacked tree, or a bundle
    :raises InjectorError: it crashed or answered something else than a report
    """
    # -I: neither the environment nor the working folder says what is imported. -S: nothing of
    # site-packages is needed, and looking for it costs. -B: the tree is compiled, and is checked.
    # The tree's digest stands for its content, so ``unchecked-hash`` files are taken as they are.
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", program, "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )

    def pass_on(number: int, _frame: object) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        output, errors = process.communicate(json.dumps(job).encode())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _report(output, errors.decode(errors="replace"), process.returncode)


def _report(output: bytes, errors: str, code: int) -> Dict[str, Any]:
    tail = errors.strip()[-_STDERR_TAIL:]
    try:
        report = json.loads(output)
    except ValueError:
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise InjectorError(
            f"The injector {end} without a report. Processes may be interrupted: patch_info shows them, and the"
            f" next run of patch recovers them.{' It said: ' + tail if tail else ''}"
        ) from None
    if not isinstance(report, dict) or report.get("format") != REPORT_FORMAT:
        seen = report.get("format") if isinstance(report, dict) else type(report).__name__
        raise InjectorError(f"The injector answered in format {seen}; this module reads format {REPORT_FORMAT}.")
    return report


def serve(module: Any, job: Mapping[str, Any]) -> None:
    """Do a module's whole work and end it, by ``exit_json`` or ``fail_json``.

    :param module: the ``AnsibleModule``
    :param job: the job without its artifacts
    """
    parameters = dict(job["parameters"])
    chosen = {key: value for key, value in (parameters.get("processes") or {}).items() if value is not None}
    parameters["processes"] = chosen
    on_host = None
    if module.params["remote_src"]:
        on_host = module.params["artifacts"] or ([module.params["artifact"]] if module.params["artifact"] else [])
    try:
        result = carry_out({**job, "parameters": parameters}, module.params["_push"], on_host)
    except InjectorError as error:
        module.fail_json(msg=str(error))
    if not module._diff:
        result.pop("diff", None)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


def carry_out(
    job: Mapping[str, Any], push: Optional[Mapping[str, Any]], on_host: Optional[Sequence[str]]
) -> Dict[str, Any]:
    """A module's whole work: a job done by the injector, or what must be pushed before that.

    :param job: the job without its artifacts
    :param push: what the action plugin says: ``{"bundle": sha256, "artifacts": [sha256, ...], "signatures":
        {sha256: text}, "host": str, "by": str, "incoming": folder on this host or None}``; in ``incoming`` lies
        what was pushed, named by digest
    :param on_host: ``remote_src``: paths of artifacts, or folders of them, on this host
    :returns: the module's result; with ``missing`` in it, digests, nothing was done yet
    :raises InjectorError: a sentence for a person
    """
    if sys.version_info < (3, 8):
        raise InjectorError(f"Managed hosts need Python 3.8 or later; {sys.executable} is {sys.version.split()[0]}.")
    if not push:
        raise InjectorError("This module runs through its action plugin, which brings the injector to the host.")
    cache = Cache()
    if push["incoming"]:
        for sha256 in os.listdir(push["incoming"]):
            if sha256 == push["bundle"]:
                cache.take_bundle(os.path.join(push["incoming"], sha256), sha256)
            elif sha256 in push["artifacts"]:
                cache.take_artifact(os.path.join(push["incoming"], sha256), sha256)
    paths = {sha256: cache.artifact(sha256) for sha256 in push["artifacts"]}
    missing = [sha256 for sha256, path in paths.items() if path is None]
    bundle = cache.bundle(push["bundle"])
    if bundle is None:
        missing.insert(0, push["bundle"])
    if bundle is None or missing:
        return {"changed": False, "missing": missing}
    artifacts = artifacts_on_host(on_host) if on_host is not None else list(paths.values())
    said = {key: push[key] for key in ("host", "by", "signatures")}
    whole = {"format": JOB_FORMAT, "artifacts": artifacts, **said, **job}
    return result_of(run(cache.program(push["bundle"], bundle), whole))


def artifacts_on_host(paths: Sequence[str]) -> List[str]:
    """``remote_src``: files as they are, folders as the artifacts in them, by name.

    :raises InjectorError: a folder holds none
    """
    found: List[str] = []
    for path in paths:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith(_SUFFIX))
            if not names:
                raise InjectorError(f"The folder {path} on this host holds no artifact (*{_SUFFIX}).")
            found += [os.path.join(path, name) for name in names]
        else:
            found.append(os.path.abspath(path))
    return found


def result_of(report: Mapping[str, Any]) -> Dict[str, Any]:
    """A report as a module's result: ``msg`` for people, ``ansible_facts.livepatch`` for later tasks.

    What only lists fails where it could not look, not for what it found.
    """
    result = {key: value for key, value in report.items() if key not in ("format", "command", "message")}
    result["msg"] = report["message"]
    result["failed"] = report["exit_code"] != 0 and not (report["command"] == "list" and report["processes"])
    result["ansible_facts"] = {
        "livepatch": {
            "counts": report["counts"],
            "artifacts": [
                {key: artifact.get(key) for key in ("id", "name", "version")}
                for artifact in report["artifacts"][:_FACTS]
            ],
        }
    }
    return result
