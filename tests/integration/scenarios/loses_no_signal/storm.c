/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Standard signals without end, as fast as they are handled; every handler calls `work`.
 *
 *   SIGUSR1   one thread sends it to two others in turn, the next when the last was handled: were one lost, it
 *             would stand still; were one doubled, more would be handled than sent
 *   SIGCHLD   another forks, the next child when the last was reaped by the handler
 *   SIGALRM   setitimer(2), every millisecond
 *
 * The threads that get them compute, or read from a pipe into which another writes numbers.
 *
 *   go        after another 30 of each: "old" or "new", by the results of `work` alone; else "mixed"
 *   wrong     "0", or how many things were wrong, and the first
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern int work(int);

enum kind { USR1, CHLD, ALRM, READS, ROUNDS, KINDS };

static atomic_uint done[KINDS], old_results, new_results, wrong, sent;
static char first_wrong[120];
static pthread_t computer, reader;
static int numbers[2];
static uint64_t begin;

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
    if (atomic_fetch_add(&wrong, 1))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_wrong, sizeof first_wrong, format, arguments);
    va_end(arguments);
}

static void call(int x)
{
    int result = work(x);
    if (result == 3 * x + 1)
        atomic_fetch_add(&old_results, 1);
    else if (result == 3 * x + 2)
        atomic_fetch_add(&new_results, 1);
    else
        complain("work(%d) is %d", x, result);
}

static uint64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000) + time.tv_nsec / 1000000;
}

static void on_usr1(int number)
{
    unsigned last = atomic_load(&sent);
    call(number);
    if (atomic_fetch_add(&done[USR1], 1) + 1 != last)
        complain("SIGUSR1 %u was not handled once", last);
}

static void on_chld(int number)
{
    int error = errno, status;
    call(number);
    while (waitpid(-1, &status, WNOHANG) > 0) {
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
            complain("a child ended with %#x", status);
        atomic_fetch_add(&done[CHLD], 1);
    }
    errno = error;
}

static void on_alrm(int number)
{
    call(number);
    if (atomic_fetch_add(&done[ALRM], 1) > milliseconds() - begin + 1)
        complain("SIGALRM came more often than the timer");
}

static void *compute(void *unused)
{
    for (unsigned x = 1;; x++) {
        volatile double a = x, b = x * 0.5;
        uint64_t sum = 0;
        for (unsigned i = 0; i < 20000; i++)
            sum += i ^ x;
        uint64_t again = 0;
        for (unsigned i = 20000; i-- > 0;)
            again += i ^ x;
        if (sum != again || a * 0.5 != b)
            complain("a sum is wrong");
        call(x & 0xffff);
        atomic_fetch_add(&done[ROUNDS], 1);
    }
    return unused;
}

static void *read_numbers(void *unused)
{
    for (uint32_t wanted = 1, found;; wanted++) {
        ssize_t size = read(numbers[0], &found, sizeof found);
        if (size != sizeof found || found != wanted)
            complain("read is %zd with errno %d, %u instead of %u", size, errno, found, wanted);
        atomic_fetch_add(&done[READS], 1);
    }
    return unused;
}

static void *write_numbers(void *unused)
{
    for (uint32_t number = 1;; number++) {
        CHECK(write(numbers[1], &number, sizeof number) == sizeof number);
        while (atomic_load(&done[READS]) < number)
            sched_yield();
    }
    return unused;
}

static void *send_usr1(void *unused)
{
    for (unsigned number = 1;; number++) {
        atomic_store(&sent, number);
        CHECK(!pthread_kill(number % 2 ? computer : reader, SIGUSR1));
        while (atomic_load(&done[USR1]) < number)
            sched_yield();
    }
    return unused;
}

static void *start_children(void *unused)
{
    for (unsigned number = 1;; number++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child)
            _exit(7);
        while (atomic_load(&done[CHLD]) < number)
            sched_yield();
        usleep(2000);
    }
    return unused;
}

static void wait_for(unsigned more)
{
    unsigned start[KINDS];
    for (int i = 0; i < KINDS; i++)
        start[i] = atomic_load(&done[i]);
    for (int i = 0; i < KINDS; i++)
        while (atomic_load(&done[i]) - start[i] < more)
            usleep(1000);
}

int main(void)
{
    static void *(*const bodies[])(void *) = {compute, read_numbers, write_numbers, send_usr1, start_children};
    static const int handled[] = {SIGUSR1, SIGCHLD, SIGALRM};
    static void (*const handlers[])(int) = {on_usr1, on_chld, on_alrm};
    sigset_t signals;
    sigemptyset(&signals);
    for (int i = 0; i < 3; i++) {
        struct sigaction action = {.sa_handler = handlers[i], .sa_flags = SA_RESTART};
        CHECK(!sigaction(handled[i], &action, NULL));
        sigaddset(&signals, handled[i]);
    }
    CHECK(!pipe(numbers));
    begin = milliseconds();
    pthread_t others[3];
    CHECK(!pthread_create(&computer, NULL, bodies[0], NULL));
    CHECK(!pthread_create(&reader, NULL, bodies[1], NULL));
    CHECK(!pthread_sigmask(SIG_BLOCK, &signals, NULL)); /* nobody else gets them */
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&others[i], NULL, bodies[2 + i], NULL));
    struct itimerval every = {{0, 1000}, {0, 1000}};
    CHECK(!setitimer(ITIMER_REAL, &every, NULL));
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "go")) {
            wait_for(3); /* results that were under way when the patch came are behind us */
            atomic_store(&old_results, 0);
            atomic_store(&new_results, 0);
            wait_for(30);
            unsigned old = atomic_load(&old_results), new = atomic_load(&new_results);
            say("%s", old && new ? "mixed" : new ? "new" : "old");
        } else if (after(line, "wrong"))
            say("%u %s", atomic_load(&wrong), first_wrong);
    }
}
