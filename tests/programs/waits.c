/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   enter   another thread calls `waiting`: "entering TID"
 *   leave   it is let out: "left RESULT"
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int waiting(int);
static int starts[2], gate[2], answers[2];

/* Which thread this is, then the result of the call that it was started for; the thread stays. */
static void *calls(void *unused)
{
    char byte;
    int tid = syscall(SYS_gettid);
    while (read(starts[0], &byte, 1) == 1) {
        CHECK(write(answers[1], &tid, sizeof tid) == sizeof tid);
        int result = waiting(gate[0]);
        CHECK(write(answers[1], &result, sizeof result) == sizeof result);
    }
    return unused;
}

static int answer(void)
{
    int number;
    CHECK(read(answers[0], &number, sizeof number) == sizeof number);
    return number;
}

int main(void)
{
    pthread_t thread;
    CHECK(!pipe(starts) && !pipe(gate) && !pipe(answers));
    CHECK(!pthread_create(&thread, NULL, calls, NULL));
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "enter")) {
            CHECK(write(starts[1], "", 1) == 1);
            say("entering %d", answer());
        } else if (after(line, "leave")) {
            CHECK(write(gate[1], "", 1) == 1);
            say("left %d", answer());
        }
    }
}
