# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""An artifact becomes a patched process.

==============  ========================================================
``job``         the main path: what was asked, done for every process
``parameters``  what a job can be told
``trust``       whose patches are accepted here
``survey``      which processes, and a prediction for each
``gather``      what a plan is made from
``plan``        pure: what would be written where, or why not
``predict``     what would become of a process
``identity``    pure: a plan's identity, that outlives PIDs
``relations``   pure: what patches say of one another
``layers``      pure: patches on top of one another
``ledger``      pure: the record in the process, as bytes
``record``      pure: what a ledger's body says
``installed``   the records read from a process
``case``        one process, and what is to become of it
``act``         carries out what the survey found possible
``alone``       only while nobody else has had a hand in it
``apply_one``   puts a patch into a process
``revert_one``  takes it out
``switch``      the stop and the jumps
``memory``      frees what nothing leads to any more
``recover``     puts right what was cut off
``journal``     a line in the host's journal for each act
``cancel``      SIGTERM to us
==============  ========================================================
"""
