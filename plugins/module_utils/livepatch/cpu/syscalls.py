# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""System-call numbers: python-ptrace's tables, and what they are too old for.

The additions are runs of consecutive numbers, written as first number and names;
source: arch/x86/entry/syscalls/syscall_{32,64}.tbl of Linux 6.12.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Dict, Mapping

from ..python_ptrace import bare_package

# Since 5.1 a new call has the same number everywhere.
_COMMON = {
    424: (
        "pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen "
        "fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise "
        "epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule "
        "landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat "
        "fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr "
        "lsm_set_self_attr lsm_list_modules mseal"
    ),
}

# python-ptrace 0.9.9 ends at 319.
_I386 = {
    320: (
        "utimensat signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime signalfd4 "
        "eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open "
        "recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime "
        "syncfs sendmmsg setns process_vm_readv process_vm_writev kcmp finit_module sched_setattr "
        "sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat socket socketpair bind connect "
        "listen accept4 getsockopt setsockopt getsockname getpeername sendto sendmsg recvfrom recvmsg "
        "shutdown userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc "
        "pkey_free statx arch_prctl io_pgetevents rseq"
    ),
    393: (
        "semget semctl shmget shmctl shmat shmdt msgget msgsnd msgrcv msgctl clock_gettime64 clock_settime64 "
        "clock_adjtime64 clock_getres_time64 clock_nanosleep_time64 timer_gettime64 timer_settime64 "
        "timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64"
    ),
    416: (
        "io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64 "
        "rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64"
    ),
}


def _spread(runs: Mapping[int, str]) -> Dict[int, str]:
    return {first + index: name for first, names in runs.items() for index, name in enumerate(names.split())}


# Imported on demand: a process of the other architecture may never come.
@lru_cache(maxsize=None)
def x86_64() -> Mapping[int, str]:
    """Number -> name, as in <asm/unistd_64.h>; the x32 numbers from 512 on are left out."""
    with bare_package("syscall"):
        from ptrace.syscall.linux.x86_64 import SYSCALL_NAMES

    return {**_spread(_COMMON), **{number: name for number, name in SYSCALL_NAMES.items() if number < 512}}


@lru_cache(maxsize=None)
def i386() -> Mapping[int, str]:
    """Number -> name, as in <asm/unistd_32.h>."""
    with bare_package("syscall"):
        from ptrace.syscall.linux.i386 import SYSCALL_NAMES

    return {**_spread(_COMMON), **_spread(_I386), **SYSCALL_NAMES}
