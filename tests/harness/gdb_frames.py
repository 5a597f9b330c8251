# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside of gdb: prints the frames of every thread, one JSON line each.

Inlined functions are no frames of their own: they share their caller's program counter. Callers that jumped
instead of calling (tail calls) have left no frame; gdb tells of them from DWARF.
"""

import json

import gdb

for _setting in ("backtrace limit unlimited", "backtrace past-main on", "backtrace past-entry on", "pagination off"):
    gdb.execute("set " + _setting)


def frames():
    """The program counters of the selected thread's frames, the innermost first, and where gdb stopped."""
    found = []
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            found.append(frame.pc())
        last, frame = frame, frame.older()
    return found, gdb.frame_stop_reason_string(last.unwind_stop_reason())


def print_threads():
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        pcs, reason = frames()
        print("FRAMES " + json.dumps({"tid": thread.ptid[1], "pcs": pcs, "reason": reason}), flush=True)
