# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""An artifact becomes a patched process.

==============  ========================================================
``job``         the main path: what was asked, done for every process
``parameters``  what a job can be told
``survey``      which processes, and a prediction for each
``gather``      what a plan is made from
``plan``        pure: what would be written where, or why not
``identity``    pure: a plan's identity, that outlives PIDs
``ledger``      pure: the record in the process, as bytes
``installed``   the records read from a process
``case``        one process, and what is to become of it
``act``         carries out what the survey found possible
``apply_one``   puts a patch into a process
``revert_one``  takes it out
``switch``      the stop and the jumps
``memory``      frees what nothing leads to any more
``recover``     puts right what was cut off
``cancel``      SIGTERM to us
==============  ========================================================
"""
