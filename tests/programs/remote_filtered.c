/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * remote_filtered FILTER: a program under a seccomp filter, waiting for lines in poll with a time-out.
 *
 *   needed      everything but what this test needs kills
 *   CALL        the call of that name kills: mmap, sigreturn, memfd, restart
 *   executable  mapping executable memory kills
 *   error       memfd_create fails with EPERM
 *   two         a filter that kills mmap, then one that lets everything pass
 *
 *   any line    is answered
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#define MMAP SYS_mmap
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define MMAP SYS_mmap2
#define ARCHITECTURE AUDIT_ARCH_I386
#endif

#define AT(field) offsetof(struct seccomp_data, field)
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define IF(number, action)                                                                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), RETURN(action)
#define INSTALL(...)                                                                                   \
    do {                                                                                               \
        struct sock_filter list[] = {__VA_ARGS__};                                                     \
        struct sock_fprog program = {sizeof list / sizeof *list, list};                                \
        CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));                                                \
        CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));                                  \
    } while (0)

static void kill_at(int number)
{
    INSTALL(LOAD(AT(nr)), IF(number, SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
}

static void install(const char *name)
{
    if (!strcmp(name, "needed"))
        INSTALL(LOAD(AT(arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
                RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(AT(nr)), IF(SYS_read, SECCOMP_RET_ALLOW),
                IF(SYS_write, SECCOMP_RET_ALLOW), IF(SYS_poll, SECCOMP_RET_ALLOW),
                IF(SYS_exit_group, SECCOMP_RET_ALLOW), IF(SYS_rt_sigreturn, SECCOMP_RET_ALLOW),
                IF(SYS_restart_syscall, SECCOMP_RET_ALLOW), IF(SYS_memfd_create, SECCOMP_RET_LOG),
                IF(SYS_munmap, SECCOMP_RET_ALLOW), IF(SYS_close, SECCOMP_RET_ALLOW),
                IF(MMAP, SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS));
    else if (!strcmp(name, "mmap"))
        kill_at(MMAP);
    else if (!strcmp(name, "sigreturn"))
        kill_at(SYS_rt_sigreturn);
    else if (!strcmp(name, "memfd"))
        kill_at(SYS_memfd_create);
    else if (!strcmp(name, "restart"))
        kill_at(SYS_restart_syscall);
    else if (!strcmp(name, "executable"))
        INSTALL(LOAD(AT(nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MMAP, 0, 3), LOAD(AT(args[2])),
                BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
                RETURN(SECCOMP_RET_ALLOW));
    else if (!strcmp(name, "error"))
        INSTALL(LOAD(AT(nr)), IF(SYS_memfd_create, SECCOMP_RET_ERRNO | 1), RETURN(SECCOMP_RET_ALLOW));
    else if (!strcmp(name, "two")) {
        kill_at(MMAP);
        INSTALL(RETURN(SECCOMP_RET_ALLOW));
    } else
        CHECK(!"a filter of that name");
}

int main(int count, char **words)
{
    CHECK(count == 2);
    setvbuf(stdin, NULL, _IONBF, 0);
    say("ready"); /* before the filter: the library's buffers are there then */
    install(words[1]);
    for (;;) {
        /* The system call itself: the library may use ppoll. */
        struct pollfd input = {0, POLLIN, 0};
        if (syscall(SYS_poll, &input, 1, 100000000) != 1)
            say("poll: %m");
        say("you said %s", hear());
    }
}
