# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Code and data brought into a process.

::

    artifact ELF --lay_out--> Layout ----------------+
                                                     |
    manifest + link map --resolve--> addresses ------+--link--> bytes --load--> mappings
                                                     |
    memory map + Layout --place--> two addresses ----+

``fields``, ``layout``, ``link`` and ``place`` take data and return data (``memory_map``: what they ask of a mapping).
``resolve`` looks into the process and changes nothing (``indirect``: what was chosen for IFUNCs).  ``load`` alone acts,
through a thread that ``tracee`` holds.
"""
