/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * filtered NUMBER: a seccomp filter kills this process at the system call NUMBER, on every thread.
 */
#include "protocol.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

extern int work(int);

int main(int argc, char **argv)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(argv[1]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof lines / sizeof *lines, lines};
    static char input[BUFSIZ], output[BUFSIZ]; /* no buffer is asked for once mmap kills */
    setvbuf(stdout, output, _IOLBF, sizeof output);
    setvbuf(stdin, input, _IOFBF, sizeof input);
    CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
    say("ready");
    for (;;) {
        const char *x = after(hear(), "work");
        say("%d", x ? work(atoi(x)) : -1);
    }
}
