/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A thread that starts another one, waits for it, and starts the next.
 *
 *   ready TID    the thread that starts the others
 *   more         answered after another ten
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_uint started;

static void *pass(void *unused)
{
    atomic_fetch_add(&started, 1);
    return unused;
}

static void *start(void *unused)
{
    say("ready %ld", (long)syscall(SYS_gettid));
    for (;;) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, pass, NULL));
        CHECK(!pthread_join(thread, NULL));
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, start, NULL));
    while (after(hear(), "more")) {
        unsigned before = atomic_load(&started);
        while (atomic_load(&started) - before < 10)
            sched_yield();
        say("%u", atomic_load(&started));
    }
}
