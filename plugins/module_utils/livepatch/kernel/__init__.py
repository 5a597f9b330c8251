# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What Linux lets us do, one file per interface, no policy.

=============  ==========================================================
``ptrace``     ptrace(2) and waiting for its stops
``procfs``     proc(5)
``memory``     another process's memory: process_vm_readv(2), /proc/PID/mem
``handles``    pidfd_open(2), kcmp(2)
=============  ==========================================================
"""
