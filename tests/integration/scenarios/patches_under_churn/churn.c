/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * churn threads|signals: four threads start a short-lived thread after the other, or one sends itself queued
 * signals without end. `work` is called by all of them.
 *
 *   go     after another 250 threads or signals: "old" or "new", by their results alone; else "mixed"
 *   lost   how many queued signals were lost, doubled or came out of order
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

extern int work(int);

static atomic_uint done, old_results, new_results, wrong_results, lost;
static volatile int handled;

static void call(void)
{
    int result = work(7);
    atomic_fetch_add(result == 22 ? &old_results : result == 23 ? &new_results : &wrong_results, 1);
    atomic_fetch_add(&done, 1);
}

static void *short_life(void *unused)
{
    call();
    return unused;
}

static void *start_threads(void *unused)
{
    for (;;) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, short_life, NULL));
        CHECK(!pthread_join(thread, NULL));
    }
    return unused;
}

static void handler(int number, siginfo_t *information, void *context)
{
    if (information->si_value.sival_int != handled + 1)
        atomic_fetch_add(&lost, 1);
    handled = information->si_value.sival_int;
    call();
}

static void *send_signals(void *unused)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(!sigaction(SIGRTMIN, &action, NULL));
    for (int number = 1;; number++) {
        union sigval value = {.sival_int = number};
        CHECK(!pthread_sigqueue(pthread_self(), SIGRTMIN, value));
        while (handled != number)
            sched_yield();
    }
    return unused;
}

static void wait_for(unsigned more)
{
    unsigned start = atomic_load(&done);
    while (atomic_load(&done) - start < more)
        sched_yield();
}

int main(int argc, char **argv)
{
    int threads = argc > 1 && !strcmp(argv[1], "threads");
    for (int i = 0; i < (threads ? 4 : 1); i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, threads ? start_threads : send_signals, NULL));
    }
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "lost"))
            say("%u", atomic_load(&lost));
        else if (after(line, "go")) {
            wait_for(50); /* results that were under way when the patch came are behind us */
            atomic_store(&old_results, 0);
            atomic_store(&new_results, 0);
            wait_for(200);
            unsigned old = atomic_load(&old_results), new = atomic_load(&new_results);
            say("%s", atomic_load(&wrong_results) || (old && new) ? "mixed" : new ? "new" : "old");
        }
    }
}
