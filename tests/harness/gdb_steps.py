# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside of gdb: steps from main to its end, and compares our frames with gdb's at every instruction.

Prints one JSON object: how many instructions were seen, how many of them in the vdso, what differed, and where
we said that we can not unwind. Where a library's own rule leads both of us to an address that is no code, we are
misled, and say that we can not unwind: i386 glibc's memcpy pushes a register without telling.
"""

import json

import gdb
from gdb_frames import frames

from livepatch.cpu import I386, X86_64
from livepatch.kernel import procfs
from livepatch.kernel.memory import Memory
from livepatch.process import images
from livepatch.tracee import tables
from livepatch.tracee.unwind import Unwinder

DWARF_NAMES = {
    "x86_64": ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip"],
    "i386": ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"],
}


def registers(cpu):
    """The innermost frame's registers in the order of NT_PRSTATUS; 0 for those that no unwinder needs."""
    values = [0] * len(cpu.register_names)
    frame = gdb.newest_frame()
    for name, index in zip(DWARF_NAMES[cpu.name], cpu.dwarf_registers):
        values[index] = int(frame.read_register(name)) & cpu.mask
    return tuple(values)


def prepared():
    """Stop in main; the architecture, the unwinder, and the process's images."""
    # Over a handler gdb would step at once, but for a breakpoint in it.
    for command in ("tbreak main", "run", "handle SIGUSR1 nostop noprint pass", "break *on_signal"):
        gdb.execute(command, to_string=True)
    pid = gdb.selected_inferior().pid
    cpu = X86_64 if "x86-64" in gdb.newest_frame().architecture().name() else I386
    memory, mappings = Memory(pid), procfs.maps(pid)
    found = images.find(pid, mappings, memory.read, procfs.exe(pid))
    return cpu, Unwinder(cpu, tables.of_process(cpu, found, mappings), memory.read), found


def step_and_compare():
    cpu, unwinder, found = prepared()
    vdso = next(image for image in found if image.is_vdso)
    loader = next(image for image in found if image.name.startswith("ld-linux"))
    depth = len(frames()[0])
    end = gdb.newest_frame().older().pc()  # where main returns to
    seen = {"steps": 0, "signal": 0, "vdso": 0, "vdso_complete": 0, "different": [], "stuck": [], "misled": 0}
    callers, visit = None, 0  # of the vdso
    while gdb.newest_frame().pc() != end:
        theirs, _ = frames()
        ours = unwinder.unwind(registers(cpu))
        pcs = [pc for pc, _, _ in ours.frames]
        # The functions of it that are C; __kernel_vsyscall and the sigreturns have rules everywhere.
        in_vdso = vdso.contains(pcs[0]) and not (gdb.newest_frame().name() or "").startswith("__kernel_")
        if in_vdso and callers is None:
            callers = theirs[1:]
        elif not in_vdso:
            callers = None
        # Inside of the 32-bit vdso gdb guesses; at its first instruction that is easy. It calls its own only.
        inner = [pc for pc in pcs if vdso.contains(pc)]
        expected = [*inner, *callers] if in_vdso else theirs
        seen["steps"] += 1
        seen["vdso"] += in_vdso
        seen["vdso_complete"] += in_vdso and ours.complete
        seen["signal"] += any(signal for _, _, signal in ours.frames)
        into_nothing = "returns to 0" in ours.reason or not any(image.contains(pcs[-1]) for image in found)
        if not ours.complete and pcs == theirs[: len(pcs)] and into_nothing:
            seen["misled"] += 1
        elif not ours.complete:
            seen["stuck"].append(ours.reason)
        elif pcs != expected:
            seen["different"].append([pcs, expected])
        visit = visit + 1 if in_vdso else 0
        # The resolver calls a function that looks symbols up for some ten thousand instructions. The vdso's
        # clock tries again whenever the time has changed meanwhile, and between two of our steps it has.
        if loader.contains(pcs[0]) and len(theirs) > depth + 1 or visit == 80:
            gdb.execute(f"tbreak *{callers[0] if in_vdso else expected[1]}", to_string=True)
            gdb.execute("continue", to_string=True)
        else:
            gdb.execute("stepi", to_string=True)
    print("STEPS " + json.dumps(seen), flush=True)
