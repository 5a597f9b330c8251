/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   run      a thread calls `pausing` from some depth, and ends: "ran RESULT"; the C library keeps its stack
 */
#include "protocol.h"

#include <pthread.h>

extern int pausing(int);

static volatile int calls;

void pause_inside(void)
{
    calls++;
}

__attribute__((noinline)) static int from_a_depth(int x)
{
    volatile char room[4096];
    room[x] = 1;
    return pausing(x) + room[x] - 1;
}

static void *runs(void *result)
{
    *(int *)result = from_a_depth(7);
    return NULL;
}

int main(void)
{
    say("ready");
    for (;;) {
        int result;
        pthread_t thread;
        hear();
        CHECK(!pthread_create(&thread, NULL, runs, &result));
        CHECK(!pthread_join(thread, NULL));
        say("ran %d", result);
    }
}
