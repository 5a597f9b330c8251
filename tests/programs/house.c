/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * house SITUATION: all situations (house.h) live in this program, and everybody in it calls the one that was
 * named, all the time:
 *
 *   steady     two threads that stay
 *   short      threads that start and end, one after the other, at two places
 *   timer      the handler of a timer's signal, which interrupts the steady threads
 *   queued     the handler of queued real-time signals, which checks that each comes once, in order
 *
 *   go    after enough calls of each kind that began later than this line: "old N new N wrong N lost N".
 *         Of results, those of these calls; of what was wrong or lost, all there ever was.
 */
#define _GNU_SOURCE
#include "house.h"
#include "protocol.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum kind { STEADY, SHORT, TIMER, QUEUED, KINDS };

static const unsigned enough[KINDS] = {40, 20, 4, 16};

enum { ROUNDS = 1000, BURST = 8 };

/* The calls that began in one round, so that none that began earlier counts in it, however long it took. */
static struct {
    atomic_uint ages[AGES];
    atomic_uint kinds[KINDS];
} rounds[ROUNDS];

static atomic_uint round_now, numbers, wrong, lost, received;
static struct situation *situations, *chosen;

void move_in(struct situation *situation)
{
    situation->next = situations;
    situations = situation;
}

static void call(enum kind kind)
{
    unsigned round = atomic_load(&round_now);
    enum age age = chosen->call(atomic_fetch_add(&numbers, 1) % 10000);
    atomic_fetch_add(&rounds[round].ages[age], 1);
    atomic_fetch_add(&rounds[round].kinds[kind], 1);
    if (age == WRONG)
        atomic_fetch_add(&wrong, 1);
}

/* What a call has left on the unused part of a stack that lives on could keep the memory of a patch for ever. */
static __attribute__((noinline)) void wash(void)
{
    char below[32768];
    explicit_bzero(below, sizeof below);
}

/* Between two calls: leaves the processors to the others. */
static void breathe(void)
{
    wash();
    nanosleep(&(struct timespec){.tv_nsec = 500 * 1000}, NULL);
}

static void *steady(void *unused)
{
    for (;;) {
        call(STEADY);
        breathe();
    }
    return unused;
}

static void *short_life(void *unused)
{
    call(SHORT);
    return unused;
}

static void *start_threads(void *unused)
{
    for (;;) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, short_life, NULL));
        CHECK(!pthread_join(thread, NULL));
        breathe();
    }
    return unused;
}

/* Once; from the end of one handler to the next, so that what was interrupted gets its turn. */
static void set_timer(void)
{
    CHECK(!setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 1000}, NULL));
}

static void on_timer(int number)
{
    call(TIMER);
    set_timer();
}

static void on_queued(int number, siginfo_t *information, void *context)
{
    if (information->si_value.sival_int != (int)atomic_load(&received) + 1)
        atomic_fetch_add(&lost, 1);
    atomic_store(&received, information->si_value.sival_int);
    call(QUEUED);
}

static void *receive(void *closed)
{
    for (;;) {
        wash();
        sigsuspend(closed);
    }
    return NULL;
}

static void *send_queued(void *unused)
{
    for (int sent = 0;;) {
        for (int i = 0; i < BURST; i++)
            CHECK(!sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = ++sent}));
        while ((int)atomic_load(&received) < sent)
            breathe();
    }
    return unused;
}

static void start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, body, argument));
}

/* For this thread and those that it starts from now on. */
static void block(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
}

static void go(void)
{
    unsigned round = atomic_load(&round_now) + 1;
    CHECK(round < ROUNDS);
    atomic_store(&round_now, round);
    for (enum kind kind = 0; kind < KINDS; kind++)
        while (atomic_load(&rounds[round].kinds[kind]) < enough[kind])
            breathe();
    say("old %u new %u wrong %u lost %u", atomic_load(&rounds[round].ages[OLD]),
        atomic_load(&rounds[round].ages[NEW]), atomic_load(&wrong), atomic_load(&lost));
}

int main(int argc, char **argv)
{
    for (chosen = situations; chosen && (argc < 2 || strcmp(chosen->name, argv[1]));)
        chosen = chosen->next;
    CHECK(chosen);

    struct sigaction timer = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    struct sigaction queued = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(!sigaction(SIGALRM, &timer, NULL) && !sigaction(SIGRTMIN, &queued, NULL));
    block(SIGRTMIN);
    for (int i = 0; i < 2; i++)
        start(steady, NULL); /* the timer's signal goes to these two alone */
    block(SIGALRM);
    for (int i = 0; i < 2; i++)
        start(start_threads, NULL);
    start(send_queued, NULL);
    static sigset_t all_but_queued;
    sigfillset(&all_but_queued);
    sigdelset(&all_but_queued, SIGRTMIN);
    start(receive, &all_but_queued);
    set_timer();
    say("ready");
    for (;;)
        if (after(hear(), "go"))
            go();
}
