# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The injector is killed from outside, at a chosen system call, and what it leaves behind is judged.

::

    this process ──traces──▶ injector ──traces──▶ target (tests/programs/killtarget.c)
       SIGKILL at call N ────▶ ✗                     lives, computes right, is old or new as a whole,
                                                     or says `interrupted`

``bpf``      the seccomp filter through which the calls that matter stop the injector
``injector`` one run of the host program, killed at a chosen call or not
``judge``    what has to hold after every kill, and what the next writing command has to bring about
"""
