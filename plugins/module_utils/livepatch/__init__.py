# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Live patching of running processes: the rooms, and who may enter which.

::

    4  __main__   the managed host's program        build_main   the build host's
    3  apply      artifact -> patched process       build        compiled code -> artifact
    2  loading    code and data into a tracee
       tracee     a process we hold
    1  process    a process, looked at and left alone
       artifact   the contract between builder and injector
    0  elf   cpu   kernel   report   errors

A room imports only from rooms on lower floors, those that its row in
``tests/unit/test_layers.py`` names; every room may import ``errors``.
``tracee`` and ``loading`` share a floor: ``loading`` may enter ``tracee``.
``__main__`` and ``build_main`` translate between
people or programs and the jobs, and decide nothing.

``cpu`` and ``kernel`` use python-ptrace, which ``python_ptrace`` imports for them.

This module imports nothing.
"""
