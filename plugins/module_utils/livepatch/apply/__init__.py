# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""An artifact becomes a patched process.

==============  ========================================================
``job``         the main path: what was asked, done for every process
``parameters``  what a job can be told
``survey``      which processes, and what is known about each
``plan``        pure: what would be written where, or why not
``identity``    pure: a plan's identity, that outlives PIDs
``ledger``      pure: the record in the process, as bytes
``installed``   the records read from a process
``operation``   one process under our hand: anchor, load, stop, let go
``switch``      the stop and the jumps
``apply_one``   put a patch into a process
``revert_one``  take it out again, collect its memory
``recover``     put right what was cut off
==============  ========================================================
"""
