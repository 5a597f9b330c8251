# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules' half of the conversation with the injector: its cache, its start, its answers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import injector
from plugins.module_utils.injector import Cache, InjectorError

REPORT = {
    "format": 1, "command": "apply", "changed": True, "exit_code": 0, "message": "1 applied", "counts": {"applied": 1},
    "processes": [], "artifacts": [{"id": "ab", "name": "fix", "version": "1", "functions": ["f"]}], "diff": [],
}  # fmt: skip
ANSWERS = f"import sys; sys.stdin.read(); print('''{json.dumps(REPORT)}''')"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path), "cache", "livepatch")


def bundle_of(main: str) -> tuple[bytes, str]:
    """A bundle whose program is ``main``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", main)
        archive.writestr("part.py", "")
    return buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest()


def unpacked(cache: Cache, tmp_path: Path, main: str) -> str:
    """The path of a program in the cache that is ``main``."""
    content, sha256 = bundle_of(main)
    (tmp_path / sha256).write_bytes(content)
    cache.take_bundle(str(tmp_path / sha256), sha256)
    return cache.program(sha256, content)


def test_the_folder_is_its_users_alone(cache: Cache) -> None:
    assert stat.S_IMODE(os.stat(cache.path).st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_may_enter_is_refused(cache: Cache, tmp_path: Path, mode: int) -> None:
    os.chmod(cache.path, mode)
    with pytest.raises(InjectorError, match=f"mode 0700.*{mode:o}.*Nothing in it was used"):
        Cache(str(tmp_path), "cache", "livepatch")


def test_somebody_elses_folder_is_refused(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.raises(InjectorError, match=f"must be user {somebody}'s own"):
        Cache(str(tmp_path), "cache", "livepatch")


@pytest.mark.parametrize("link", ["cache", "cache/livepatch", "cache/livepatch/artifacts"])
def test_links_are_not_followed(tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    (tmp_path / link).symlink_to(elsewhere)
    with pytest.raises(InjectorError):
        Cache(str(tmp_path), "cache", "livepatch")
    assert os.listdir(elsewhere) == []


def test_a_bundle_that_arrived_with_other_bytes_is_refused(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "pushed").write_bytes(b"half of i")
    with pytest.raises(InjectorError, match="other bytes"):
        cache.take_bundle(str(tmp_path / "pushed"), hashlib.sha256(b"half of it").hexdigest())
    assert sorted(os.listdir(cache.path)) == ["artifacts"]


def test_what_is_not_whole_any_more_counts_as_missing(cache: Cache, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"patch").hexdigest()
    (tmp_path / "pushed").write_bytes(b"patch")
    cache.take_artifact(str(tmp_path / "pushed"), sha256)
    path = Path(cache.artifact(sha256) or "")
    assert path.read_bytes() == b"patch"
    path.write_bytes(b"patc")
    assert cache.artifact(sha256) is None


@pytest.mark.parametrize("damage", ["altered", "one more", "one less", "open to others", "gone"])
def test_a_damaged_tree_is_unpacked_anew(cache: Cache, tmp_path: Path, damage: str) -> None:
    program = unpacked(cache, tmp_path, ANSWERS)
    (compiled,) = Path(program, "__pycache__").glob("part.*.pyc")
    if damage == "altered":
        compiled.write_bytes(b"")
    elif damage == "one more":
        Path(program, "json.py").write_text("raise SystemExit('not the one of the standard library')")
    elif damage == "one less":
        compiled.unlink()
    elif damage == "open to others":
        os.chmod(program, 0o755)
    else:
        os.rename(program, tmp_path / "gone")
    assert unpacked(cache, tmp_path, ANSWERS) == program
    assert compiled.stat().st_size and not Path(program, "json.py").exists()
    assert injector.run(program, {}) == REPORT
    assert not [name for name in os.listdir(cache.path) if name.startswith(".")]


def test_a_tree_as_it_was_left_is_not_touched(cache: Cache, tmp_path: Path) -> None:
    inode = os.stat(unpacked(cache, tmp_path, ANSWERS)).st_ino
    assert os.stat(unpacked(cache, tmp_path, ANSWERS)).st_ino == inode


def test_bundles_that_nobody_uses_any_more_go_when_a_new_one_comes(cache: Cache, tmp_path: Path) -> None:
    old = unpacked(cache, tmp_path, "'old'")
    kept = unpacked(cache, tmp_path, "'kept'")
    for name in os.listdir(cache.path):
        if name != "artifacts":
            os.utime(Path(cache.path, name), (0, 0))
    unpacked(cache, tmp_path, "'kept'")  # a use
    new = unpacked(cache, tmp_path, "'new'")
    assert [Path(tree).exists() for tree in (old, kept, new)] == [False, True, True]
    assert len(os.listdir(cache.path)) == 5  # two bundles, two trees, the artifacts


def test_the_job_reaches_the_program_which_sees_nothing_else_of_us(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = unpacked(
        cache,
        tmp_path,
        "import json, os, sys; json.dump({'format': 1, 'job': json.load(sys.stdin), 'path': sys.path,"
        " 'argv': sys.argv[1:], 'session': os.getsid(0) == os.getpid(), 'folder': os.getcwd()}, sys.stdout)",
    )
    answer = injector.run(program, {"command": "list"})
    assert (answer["job"], answer["argv"]) == ({"command": "list"}, ["run"])
    assert answer["session"] and answer["folder"] == "/"
    assert str(tmp_path) not in answer["path"] and not [path for path in answer["path"] if "site-packages" in path]


@pytest.mark.parametrize(
    ("main", "message"),
    [
        ("import sys; sys.exit('no room left')", "ended with code 1 without a report.*no room left"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL without a report.*recovers them"),
        ("print('{')", "ended with code 0 without a report"),
        ("print('{\"format\": 2}')", "answered in format 2; this module reads format 1"),
        ("print('[]')", "answered in format list"),
    ],
)
def test_a_program_that_does_not_answer_is_a_failure_that_says_so(
    cache: Cache, tmp_path: Path, main: str, message: str
) -> None:
    with pytest.raises(InjectorError, match=f"(?s){message}"):
        injector.run(unpacked(cache, tmp_path, main), {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_module_reaches_the_injector_which_ends_in_order(
    cache: Cache, tmp_path: Path, number: signal.Signals
) -> None:
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    report = {**REPORT, "message": number.name}
    program = unpacked(
        cache,
        tmp_path,
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: print('''{json.dumps(report)}''') or sys.exit(0))\n"
        f"open({str(fifo)!r}, 'w').close()\n"
        "signal.pause()\n",
    )

    def send_when_ready() -> None:
        fifo.read_bytes()  # returns when the program has opened and closed it
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send_when_ready)
    sender.start()
    try:
        assert injector.run(program, {})["message"] == number.name
    finally:
        sender.join()
    assert signal.getsignal(number) is not None


@pytest.fixture
def push(cache: Cache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the action plugin says, with an empty cache on the host."""
    monkeypatch.setattr(injector, "_place", lambda: (str(tmp_path), ("cache", "livepatch")))
    content, sha256 = bundle_of(
        f"import json, sys; report = json.loads({json.dumps(REPORT)!r})\n"
        "json.dump({**report, 'job': json.load(sys.stdin)}, sys.stdout)"
    )
    artifact = hashlib.sha256(b"artifact").hexdigest()
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / sha256).write_bytes(content)
    (incoming / artifact).write_bytes(b"artifact")
    said = {"signatures": {artifact: "signature"}, "host": "web1", "by": "ansible:root"}
    return {"bundle": sha256, "artifacts": [artifact], "incoming": str(incoming), **said}


def test_what_is_missing_is_named_and_nothing_is_run(push: dict[str, Any]) -> None:
    answer = injector.carry_out({"command": "apply"}, {**push, "incoming": None}, None)
    assert answer == {"changed": False, "missing": [push["bundle"], *push["artifacts"]]}


def test_what_was_pushed_once_is_found_again(push: dict[str, Any]) -> None:
    first = injector.carry_out({"command": "apply", "parameters": {}}, push, None)
    again = injector.carry_out({"command": "apply", "parameters": {}}, {**push, "incoming": None}, None)
    assert first == again
    (path,) = first["job"]["artifacts"]
    assert first["job"]["signatures"] == push["signatures"]
    assert Path(path).read_bytes() == b"artifact"
    assert {key: first["job"][key] for key in ("format", "host", "by", "command")} == {
        "format": 1, "host": "web1", "by": "ansible:root", "command": "apply",
    }  # fmt: skip


def test_artifacts_on_the_host_are_files_or_folders_of_them(push: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "patches"
    folder.mkdir()
    for name in ("b.lp.o", "a.lp.o", "README"):
        (folder / name).write_text("")
    job = injector.carry_out({}, {**push, "artifacts": []}, [str(folder), "/x.lp.o"])["job"]
    assert job["artifacts"] == [str(folder / "a.lp.o"), str(folder / "b.lp.o"), "/x.lp.o"]
    with pytest.raises(InjectorError, match="holds no artifact"):
        injector.artifacts_on_host([str(tmp_path)])


def test_a_module_without_its_action_plugin_says_so() -> None:
    with pytest.raises(InjectorError, match="action plugin"):
        injector.carry_out({}, None, None)


def test_what_only_lists_does_not_fail_for_what_it_finds() -> None:
    found = {**REPORT, "command": "list", "exit_code": 6, "processes": [{"status": "interrupted"}]}
    assert not injector.result_of(found)["failed"]
    assert injector.result_of({**found, "processes": []})["failed"]


def test_the_report_becomes_a_result_with_small_facts() -> None:
    result = injector.result_of({**REPORT, "exit_code": 3})
    assert result["failed"] and result["changed"] and result["msg"] == "1 applied"
    assert result["ansible_facts"]["livepatch"] == {
        "counts": {"applied": 1},
        "artifacts": [{"id": "ab", "name": "fix", "version": "1"}],
    }
