/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kernel makes of a seccomp filter. A line "PROGRAM A B C D E F" has instructions of 8 bytes each in
 * hexadecimal, and arguments; a child installs it and calls getppid with them. The answer is the errno it
 * got (0: none), -1: the kernel does not take the program, or 1000 + the signal that killed the child.
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int judged(struct sock_fprog *program, const long *arguments)
{
    int status, pipe_ends[2], result = 0;
    CHECK(!pipe(pipe_ends));
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        errno = 0;
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program))
            result = -1;
        else if (syscall(SYS_getppid, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                         arguments[5]) < 0)
            result = errno;
        CHECK(write(pipe_ends[1], &result, sizeof result) == sizeof result);
        _exit(0);
    }
    close(pipe_ends[1]);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        result = 1000 + WTERMSIG(status);
    else
        CHECK(read(pipe_ends[0], &result, sizeof result) == sizeof result);
    close(pipe_ends[0]);
    return result;
}

int main(void)
{
    static char line[65536];
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        struct sock_filter instructions[512];
        unsigned char *bytes = (unsigned char *)instructions;
        char *at = line;
        size_t size = 0;
        for (; *at != ' '; at += 2) {
            CHECK(size < sizeof instructions && sscanf(at, "%2hhx", bytes + size) == 1);
            size++;
        }
        long arguments[6];
        for (int i = 0; i < 6; i++)
            arguments[i] = (long)strtoull(at, &at, 0);
        struct sock_fprog program = {size / sizeof *instructions, instructions};
        say("%d", judged(&program, arguments));
    }
}
