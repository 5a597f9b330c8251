# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""From two builds of a program, or one C file, to an artifact.

Runs on the build host alone and is never bundled: pyelftools and capstone are
at hand here.  ``pipeline.build`` is the recipe, and each file one step of it::

    objects     what a compiled object holds: functions, data, what each field points at
    compare     which functions differ between old and new (pure)
    statics     which static variable of the new object is which of the old (pure)
    target      what the shipped file holds: symbols, code, imports
    match       proof that the shipped code is the old object's code
    debug_info  what DWARF says of types, prototypes, inlined copies
    limits      what can not be patched by replacing code alone (pure)
    convention  who calls a replaced function, and what the caller may rely on (pure)
    selection   which sections of the new objects the patch needs
    bind        what belongs to the target: where it is
    order       in which order the jumps are written (pure)
    assemble    the artifact's bytes

Whatever can not be told is refused.
"""
