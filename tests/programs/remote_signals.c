/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One thread, and a record of every signal that it handles.
 *
 *   signals     those handled so far, in order: NUMBER:VALUE, VALUE as sigqueue(3) sent it
 *   mask        the blocked signals, in hexadecimal, bit N - 1 for signal N
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    int number, value;
} seen[4096];
static volatile sig_atomic_t count;

static void handle(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (count < 4096) {
        seen[count].number = number;
        seen[count].value = info->si_code == SI_QUEUE ? info->si_value.sival_int : 0;
    }
    count++;
}

static char *hear_between_signals(void)
{
    static char line[64];
    size_t length = 0;
    while (!length || line[length - 1] != '\n') {
        ssize_t got = read(0, line + length, 1);
        if (!got)
            exit(0);
        CHECK(got == 1 || errno == EINTR);
        length += got == 1;
    }
    line[length - 1] = 0;
    return line;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int number = 1; number <= SIGRTMAX; number++)
        if (number < 32 || number >= SIGRTMIN)
            if (number != SIGSEGV && number != SIGCHLD && number != SIGABRT)
                sigaction(number, &action, NULL);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGRTMAX);
    CHECK(!sigprocmask(SIG_BLOCK, &blocked, NULL));
    say("ready");
    for (;;) {
        const char *line = hear_between_signals();
        if (after(line, "signals")) {
            for (int i = 0; i < count; i++)
                printf("%d:%d ", seen[i].number, seen[i].value);
            say(".");
        } else if (after(line, "mask")) {
            uint64_t mask;
            CHECK(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask));
            say("%llx", (unsigned long long)mask);
        }
    }
}
