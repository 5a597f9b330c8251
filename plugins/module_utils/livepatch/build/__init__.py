# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""From two builds of a program, or one C file, to an artifact.

Runs on the build host alone and is never bundled: pyelftools and capstone are
at hand here.  ``pipeline.make`` is the recipe; whatever can not be told is
refused.  The way of a patch::

    request                                what is asked for
    target, libraries                      the shipped file: symbols, bytes, what it imports from where
    inputs, objects, instructions, names   a compiled object: functions, data, what each field points at
    compare, meaning, statics, units       what changed between two builds
    debug_info, dwarf_places, type_text    what DWARF says of types, prototypes, inlined copies
    unit_dwarf                             which DWARF speaks for which unit
    match, bind, placing                   the shipped code is the old object's; where everything is in it
    limits, copies, clones, convention     what can not be patched, or not alone
    private (signatures, clobbers, sight,  what callers that stay rely on: proven,
        thunks), entry                     or kept by a thunk; who may finish in old code
    manual, patch_file, declared           the same for one C file, from the target's DWARF and code
    patch_names, scope, source_files       what its names mean: the macros of livepatch.h
    proposal                               what is replaced by what: both ways end here
    selection                              which sections of the new objects go along, where each field leads
    order                                  which jump is written before which
    assemble, eh_frame, object_writer      the artifact's bytes
    signing                                its signature, by ssh-keygen
    inspection                             an artifact, told to a person

``compare``, ``meaning``, ``statics``, ``limits``, ``copies``, ``convention`` and ``order`` are pure: data in, data
out or a refusal.
"""
