# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""process: a process, looked at and left alone.

::

    selection.py   what the user asked for ---+
    images.py      which ELF files it maps ---+--> targets.py    which processes, and why others not
      mapped_file.py  their files, once a job
                                                        |
    cgroups.py     unit and container by cgroup path    v
    link_map.py    order of symbol lookup ---------> snapshot.py    one process at one moment
                                                        |
    observations.py  what else the kernel tells  -------+
    coroutines.py    stacks that are no thread's        |
    written.py       memory that can be searched        v
                                                     fitness.py     can it be patched? (pure)

Nothing here stops, writes to or runs code in a process, so check mode ends with the answers that apply
acts on. What only a stop can show is not promised here.
"""
