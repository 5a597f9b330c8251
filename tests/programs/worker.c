/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * worker [THREADS]: calls `work` when asked, and all the time on THREADS busy threads.
 *
 *   work X    what work(X) answers       rest X    what rest(X) answers
 *   times     how often the unit counted a call
 *   go        every busy thread has called `work` another 1,000 times: how many results were old, new, wrong
 *   child     fork: the child says "child PID" and answers `work` alone from now on
 */
#include "protocol.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

extern int work(int), rest(int);
extern unsigned times(void);

enum { OLD, NEW, WRONG, RESULTS };

struct thread {
    pthread_t handle;
    atomic_uint calls;
    atomic_uint results[RESULTS];
};

static struct thread threads[256];

static void *busy(void *argument)
{
    struct thread *self = argument;
    for (int x = 1;; x = (x + 1) & 0xffff) {
        int result = work(x);
        atomic_fetch_add(&self->results[result == 3 * x + 1 ? OLD : result == 3 * x + 2 ? NEW : WRONG], 1);
        atomic_fetch_add(&self->calls, 1);
    }
    return NULL;
}

/* Wait until each thread has made 1,000 more calls, and count the results of that time. */
static void go(int count)
{
    unsigned sums[RESULTS] = {0};
    for (int i = 0; i < count; i++)
        for (int j = 0; j < RESULTS; j++)
            atomic_exchange(&threads[i].results[j], 0);
    for (int i = 0; i < count; i++) {
        unsigned start = atomic_load(&threads[i].calls);
        while (atomic_load(&threads[i].calls) - start < 1000)
            sched_yield();
        for (int j = 0; j < RESULTS; j++)
            sums[j] += atomic_load(&threads[i].results[j]);
    }
    say("old %u new %u wrong %u", sums[OLD], sums[NEW], sums[WRONG]);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < count; i++)
        CHECK(!pthread_create(&threads[i].handle, NULL, busy, &threads[i]));
    say("ready");
    for (;;) {
        const char *line = hear(), *x;
        if ((x = after(line, "work")))
            say("%d", work(atoi(x)));
        else if ((x = after(line, "rest")))
            say("%d", rest(atoi(x)));
        else if (after(line, "times"))
            say("%u", times());
        else if (after(line, "go"))
            go(count);
        else if (after(line, "child")) {
            if (!fork())
                say("child %d", getpid());
            else
                wait(NULL);
        } else
            say("what is %s?", line);
    }
}
