# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mapped in real processes: every linkage, files that are gone, other mount namespaces."""

from __future__ import annotations

import os
import subprocess

import pytest

from livepatch.elf.file import ElfFile
from livepatch.errors import Refused
from livepatch.kernel import procfs
from livepatch.process import snapshot
from tests.harness import toolchain

STATIC = ("static", "static_pie")


@pytest.fixture
def look():
    """``look(pid) -> Snapshot``, closed in the end."""
    taken = []

    def take(pid: int) -> snapshot.Snapshot:
        taken.append(snapshot.take(pid))
        return taken[-1]

    yield take
    for each in taken:
        each.close()


@pytest.fixture
def shape(compile, start):
    """``shape(name, linkage, *arguments) -> Program``: process_shapes.c in one of its shapes."""

    def started(name="plain", linkage="pie", *arguments, **options):
        program = compile("process_shapes.c", *toolchain.EXECUTABLES[linkage])
        return start(program, name, *arguments, **options)

    return started


@pytest.mark.parametrize("linkage", toolchain.EXECUTABLES)
def test_the_program_is_found_at_its_place(cpu, shape, look, linkage) -> None:
    program = shape(linkage=linkage)
    seen = look(program.pid)
    file = ElfFile(program.path.read_bytes())
    image = seen.executable
    assert (image.path, image.deleted, image.name) == (str(program.path), False, program.path.name)
    assert seen.cpu is cpu and image.cpu is cpu
    assert image.build_id == file.build_id() is not None
    assert image.text_sha256() == file.text_sha256()
    assert (image.bias == 0) == (linkage in ("non_pie", "static"))
    symbol = next(each for each in file.symbols() if each.name == "wait_there")
    in_file = file.read(symbol.value, symbol.size)
    assert seen.memory.read(symbol.value + image.bias, symbol.size) == in_file
    assert image.file_bytes(symbol.value, symbol.size) == in_file
    assert seen.image_at(symbol.value + image.bias) is image
    assert seen.targets(file.build_id(), "") == (image,)


@pytest.mark.parametrize("linkage", toolchain.EXECUTABLES)
def test_symbols_are_looked_up_in_the_order_of_the_link_map(cpu, shape, look, linkage) -> None:
    seen = look(shape(linkage=linkage).pid)
    names = [image.name for image in seen.link_map]
    if linkage in STATIC:
        assert names == [seen.executable.name]
        assert [image.name for image in seen.images if not image.is_vdso] == names
    else:
        assert names[0] == seen.executable.name and names[1] == "libc.so.6" and names[-1].startswith("ld-linux")
        libc = seen.link_map[1]
        assert libc.loaded.lookup("malloc").defined
        assert libc.bias == libc.start


def test_the_vdso_is_an_image_without_a_file(cpu, shape, look) -> None:
    vdso = next(image for image in look(shape().pid).images if image.is_vdso)
    assert vdso.cpu is cpu and vdso.open_file() is None and vdso.build_id
    assert any(symbol.name == "__vdso_clock_gettime" for symbol in vdso.loaded.symbols())


def test_a_file_that_is_only_read_is_no_image(cpu, shape, look, compile) -> None:
    other = compile("elf_plain.c", "-shared", "-fPIC")
    seen = look(shape("maps_file", "pie", other).pid)
    assert any(mapping.path == str(other) for mapping in seen.mappings)
    assert all(image.path != str(other) for image in seen.images)


def test_a_deleted_program_is_read_all_the_same(cpu, compile, start, look, tmp_path) -> None:
    path = toolchain.copied(compile("process_shapes.c"), tmp_path)
    data = path.read_bytes()
    program = start(path)
    path.unlink()
    image = look(program.pid).executable
    assert (image.path, image.deleted) == (str(path), True)
    assert image.build_id == ElfFile(data).build_id()
    assert image.text_sha256() == ElfFile(data).text_sha256()
    assert image.open_file().symbols() == ElfFile(data).symbols()


def test_a_program_whose_file_was_replaced_is_not_taken_for_the_new_one(cpu, compile, start, look, tmp_path) -> None:
    path = toolchain.copied(compile("process_shapes.c"), tmp_path)
    old = ElfFile(path.read_bytes())
    program = start(path)
    path.unlink()
    path.write_bytes(compile("elf_plain.c").read_bytes())
    image = look(program.pid).executable
    assert image.build_id == old.build_id() and image.deleted
    assert image.open_file().build_id() == old.build_id()


def test_a_library_that_was_deleted_is_read_all_the_same(cpu, compile, start, look, tmp_path) -> None:
    library = compile("elf_plain.c", "-shared", "-fPIC", "-Wl,-soname,libplain.so", name="libplain.so")
    path = toolchain.copied(compile("process_shapes.c", "-Wl,--no-as-needed", library), tmp_path)
    program = start(path)
    (tmp_path / "libplain.so").unlink()
    seen = look(program.pid)
    image = next(image for image in seen.images if image.name == "libplain.so")
    assert image.deleted and image.build_id == ElfFile(library.read_bytes()).build_id()
    assert image.text_sha256() == ElfFile(library.read_bytes()).text_sha256()
    assert seen.link_map[1] is image


def test_another_mount_namespace_makes_no_difference(cpu, compile, start, look, tmp_path) -> None:
    """The program's path leads nowhere for us."""
    program_path = compile("process_shapes.c")
    inner = tmp_path / "inner"
    inner.mkdir()
    script = f'mount -t tmpfs tmpfs {inner} && cp {program_path} {inner}/hidden && exec {inner}/hidden plain'
    program = start("unshare", "--mount", "sh", "-c", script)
    assert not (inner / "hidden").exists()
    image = look(program.pid).executable
    assert image.path == f"{inner}/hidden"
    assert image.build_id == ElfFile(program_path.read_bytes()).build_id()
    assert image.open_file().build_id() == image.build_id


def test_a_process_whose_leader_exited_is_alive(cpu, shape, look) -> None:
    program = shape("leader_exited")
    assert procfs.maps(program.pid) == []
    seen = look(program.pid)
    assert seen.leader_exited and seen.task != program.pid
    assert [thread.tid for thread in seen.threads] == [seen.task]
    assert seen.executable.build_id == ElfFile(program.path.read_bytes()).build_id()
    assert seen.executable.open_file() is not None
    assert seen.link_map[0] is seen.executable
    path = str(program.path)
    assert (seen.exe, seen.name, seen.cmdline) == (path, program.path.name[:15], (path, "leader_exited"))


def test_every_thread_is_seen_with_what_it_waits_in(cpu, shape, look) -> None:
    seen = look(shape("threads").pid)
    assert len(seen.threads) == 9
    waiting = [thread for thread in seen.threads if thread.tid != seen.pid]
    assert {cpu.syscall_name(thread.syscall.number) for thread in waiting} == {"read"}
    assert all(thread.state == "S" and thread.seccomp == 0 and thread.tracer == 0 for thread in waiting)


def test_a_snapshot_names_who_it_is(cpu, shape, look) -> None:
    program = shape()
    seen = look(program.pid)
    assert seen.uid == os.geteuid()
    assert seen.hostname == os.uname().nodename
    assert seen.start_time == procfs.stat(program.pid).start_time


def test_a_dead_child_is_exiting_and_a_gone_one_is_gone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(Refused) as caught:
        snapshot.take(child.pid)
    assert caught.value.reason == "exiting"
    child.wait()
    with pytest.raises(ProcessLookupError):
        snapshot.take(child.pid)


def test_a_static_go_program_is_known_by_its_text(start, look, tmp_path) -> None:
    source = tmp_path / "main.go"
    source.write_text('package main\nimport ("bufio"; "fmt"; "os")\n'
                      'func main() { fmt.Println("ready"); bufio.NewReader(os.Stdin).ReadString(10) }\n')
    program = start(toolchain.go(source, "look"))
    image = look(program.pid).executable
    file = ElfFile(program.path.read_bytes())
    assert image.build_id is None is file.build_id()
    assert image.text_sha256() == file.text_sha256()
