/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The leader ends, another thread waits until it has, and goes on serving: "work X".
 */
#include "protocol.h"

#include <pthread.h>

extern int work(int);
static pthread_t leader;

/* "ready" must mean that the kernel has made a zombie of the leader: pthread_join waits for just that. */
static void *serve(void *unused)
{
    CHECK(!pthread_join(leader, NULL));
    say("ready");
    for (;;) {
        const char *x = after(hear(), "work");
        if (x)
            say("%d", work(atoi(x)));
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    leader = pthread_self();
    CHECK(!pthread_create(&thread, NULL, serve, NULL));
    pthread_exit(NULL);
}
