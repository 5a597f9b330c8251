# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What Linux lets us do, one file per interface, no policy.

===============  =====================================================
``ptrace``       ptrace(2) and waiting for its stops
``procfs``       proc(5)
``memory``       another process's memory: process_vm_readv(2), /proc/PID/mem
``kcmp``         kcmp(2)
``namespaces``   setns(2), in a child of ours: the host name of a process
``robust_list``  get_robust_list(2)
``guards``       pages of a stack that are guards although no map shows it
``xstate``       how this kernel lays out extended state in signal frames
===============  =====================================================
"""
