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
static int gate[2], told[2];

static void *inside(void *unused)
{
    int tid = syscall(SYS_gettid);
    CHECK(write(told[1], &tid, sizeof tid) == sizeof tid);
    return (void *)(long)waiting(gate[0]);
}

int main(void)
{
    pthread_t thread;
    CHECK(!pipe(gate) && !pipe(told));
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "enter")) {
            int tid;
            CHECK(!pthread_create(&thread, NULL, inside, NULL));
            CHECK(read(told[0], &tid, sizeof tid) == sizeof tid);
            say("entering %d", tid);
        } else if (after(line, "leave")) {
            void *result;
            CHECK(write(gate[1], "", 1) == 1);
            CHECK(!pthread_join(thread, &result));
            say("left %ld", (long)result);
        }
    }
}
