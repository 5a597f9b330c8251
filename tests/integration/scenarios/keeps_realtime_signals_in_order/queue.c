/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Three threads queue numbered real-time signals all the time, each on every one of eight signal numbers:
 *
 *   0 1   sigqueue(3) to the process, handled by one thread
 *   2 3   pthread_sigqueue(3) to that thread
 *   4 5   the same, which the thread has blocked most of the time
 *   6     to the process, blocked by all, taken by another thread with sigwaitinfo(2)
 *   7     to that other thread, taken with sigtimedwait(2)
 *
 *   go     after another 500 signals: "old" or "new", by the results of `work` alone; else "mixed"
 *   end    the senders stop; when everything has come: "missing N wrong W FIRST"
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

extern int work(int);

enum { SENDERS = 3, NUMBERS = 8, MOST_UNDER_WAY = 40 };

static atomic_uint sent[SENDERS][NUMBERS], received[SENDERS][NUMBERS];
static atomic_uint old_results, new_results, wrong;
static atomic_int ending, ended;
static char first_wrong[120];
static pthread_t handling, taking;

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
    if (atomic_fetch_add(&wrong, 1))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_wrong, sizeof first_wrong, format, arguments);
    va_end(arguments);
}

static void receive(const siginfo_t *information)
{
    int sender = information->si_value.sival_int >> 24, number = information->si_signo - SIGRTMIN;
    unsigned value = information->si_value.sival_int & 0xffffff;
    int result = work(value & 0xff), x = value & 0xff;
    atomic_fetch_add(result == 3 * x + 1 ? &old_results : &new_results, 1);
    if (result != 3 * x + 1 && result != 3 * x + 2)
        complain("work(%d) is %d", x, result);
    if (sender >= SENDERS || number < 0 || number >= NUMBERS || information->si_code != SI_QUEUE) {
        complain("signal %d, code %d, value %#x", information->si_signo, information->si_code, value);
        return;
    }
    unsigned wanted = atomic_load(&received[sender][number]) + 1;
    if ((wanted & 0xffffff) != value)
        complain("%u came instead of %u on signal %d of sender %d", value, wanted, number, sender);
    atomic_store(&received[sender][number], wanted);
}

static void handler(int number, siginfo_t *information, void *context)
{
    (void)number, (void)context;
    receive(information);
}

static void some(sigset_t *set, int first, int last)
{
    sigemptyset(set);
    for (int number = first; number <= last; number++)
        sigaddset(set, SIGRTMIN + number);
}

static void *handle(void *unused)
{
    sigset_t at_times, always;
    some(&at_times, 4, 5);
    some(&always, 0, 3);
    CHECK(!pthread_sigmask(SIG_UNBLOCK, &always, NULL));
    for (unsigned turn = 0;; turn++) {
        for (volatile unsigned i = 0; i < 20000; i++)
            ;
        CHECK(!pthread_sigmask(SIG_UNBLOCK, &at_times, NULL));
        if (turn % 64 == 0)
            sched_yield();
        CHECK(!pthread_sigmask(SIG_BLOCK, &at_times, NULL));
    }
    return unused;
}

static void *take(void *unused)
{
    sigset_t waited;
    some(&waited, 6, 7);
    for (;;) {
        struct timespec time = {10, 0};
        siginfo_t information;
        int number = (atomic_load(&sent[0][7]) & 1) ? sigwaitinfo(&waited, &information)
                                                    : sigtimedwait(&waited, &information, &time);
        if (number > 0)
            receive(&information);
        else if (errno != EAGAIN)
            complain("sigwaitinfo: errno %d", errno);
    }
    return unused;
}

static unsigned total(atomic_uint (*counts)[NUMBERS])
{
    unsigned sum = 0;
    for (int i = 0; i < SENDERS; i++)
        for (int j = 0; j < NUMBERS; j++)
            sum += atomic_load(&counts[i][j]);
    return sum;
}

static void *queue(void *argument)
{
    int self = (int)(long)argument;
    while (!atomic_load(&ending))
        for (int number = 0; number < NUMBERS; number++) {
            unsigned value = atomic_load(&sent[self][number]) + 1;
            union sigval what = {.sival_int = self << 24 | (int)(value & 0xffffff)};
            int process = number < 2 || number == 6;
            while (value - atomic_load(&received[self][number]) > MOST_UNDER_WAY)
                usleep(200);
            atomic_store(&sent[self][number], value);
            while (process ? sigqueue(getpid(), SIGRTMIN + number, what)
                           : pthread_sigqueue(number == 7 ? taking : handling, SIGRTMIN + number, what))
                usleep(200); /* EAGAIN: too many are pending */
        }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

static void wait_for(unsigned more)
{
    unsigned start = total(received);
    while (total(received) - start < more)
        usleep(1000);
}

int main(void)
{
    sigset_t all;
    some(&all, 0, NUMBERS - 1);
    CHECK(!pthread_sigmask(SIG_BLOCK, &all, NULL));
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART, .sa_mask = all};
    for (int number = 0; number < NUMBERS; number++)
        CHECK(!sigaction(SIGRTMIN + number, &action, NULL));
    CHECK(!pthread_create(&handling, NULL, handle, NULL) && !pthread_create(&taking, NULL, take, NULL));
    for (long i = 0; i < SENDERS; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, queue, (void *)i));
    }
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "go")) {
            wait_for(100); /* results that were under way when the patch came are behind us */
            atomic_store(&old_results, 0);
            atomic_store(&new_results, 0);
            wait_for(500);
            unsigned old = atomic_load(&old_results), new = atomic_load(&new_results);
            say("%s", old && new ? "mixed" : new ? "new" : "old");
        } else if (after(line, "end")) {
            atomic_store(&ending, 1);
            while (atomic_load(&ended) < SENDERS || total(received) < total(sent))
                usleep(1000);
            say("missing %d wrong %u %s", (int)(total(sent) - total(received)), atomic_load(&wrong), first_wrong);
        }
    }
}
