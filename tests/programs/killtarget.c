/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kill tests shoot at: a process whose threads each do one thing over and over and check it, so that
 * a register, a signal mask, a system call or a function that a dead injector left wrong is counted.
 *
 *   registers   all registers hold their values through a loop; then `outer` is called and its results sorted
 *   sleeper     nanosleep sleeps as long as it should; then it feeds the two below
 *   futex       futex(FUTEX_WAIT) comes back when it is woken
 *   poller      epoll_wait, then read: the numbers in the pipe come in order, none lost, none twice
 *   main        blocked in read: the test's lines
 *
 *   beat        answered once every thread has gone round another ROUNDS times: all counts since the last beat
 */
#define _GNU_SOURCE
#include "pairwise.h"
#include "protocol.h"
#include "registers.h"

#include <errno.h>
#include <fenv.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3

enum thread { REGISTERS, SLEEPER, FUTEX, POLLER, THREADS };
static const char *const names[THREADS] = {"registers", "sleeper", "futex", "poller"};

static atomic_uint rounds[THREADS];
static atomic_uint old_results, new_results, newer_results, wrong_results;
static atomic_uint interrupted; /* EINTR: allowed after a kill, and only then; the test judges */
static atomic_uint errors;
static char first_error[160];

static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
    if (atomic_fetch_add(&errors, 1))
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
}

/* ---- registers ---- */

static enum vectors best_vectors(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        return AVX512;
    return __builtin_cpu_supports("avx2") ? AVX : SSE;
}

static uint64_t scrambled(uint64_t seed)
{
    seed = (seed + 1) * 0x9e3779b97f4a7c15u;
    return seed ^ seed >> 29;
}

static void sort_results(int value)
{
    int weight = 3 + value % 11, result = outer(value, weight);
    if (result == OUTER_OLD(value, weight))
        atomic_fetch_add(&old_results, 1);
    else if (result == OUTER_NEW(value, weight))
        atomic_fetch_add(&new_results, 1);
    else if (result == OUTER_NEWER(value, weight))
        atomic_fetch_add(&newer_results, 1);
    else {
        atomic_fetch_add(&wrong_results, 1);
        wrong("outer(%d, %d) is %d", value, weight, result);
    }
}

static void *keep_registers(void *unused)
{
    static struct registers in, out, first;
    enum vectors vectors = best_vectors();
    uint64_t *words = (uint64_t *)&in;
    for (size_t i = 0; i < sizeof in / sizeof *words; i++)
        words[i] = scrambled(i);
    for (int i = 0; i < 8; i++)
        in.x87[i] = 1.0 + i / 7.0;
    /* Not the values that a fresh thread has: rounding up, only the invalid exception enabled. */
    unsigned control = 0x5f00, found_control;
    unsigned short x87_control = 0x0b7e, found_x87_control;
    hold_registers(&in, &first, 1, vectors);
    for (int value = 1;; value = (value + 1) & 0xffff) {
        sigset_t mask;
        __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(control), "m"(x87_control));
        hold_registers(&in, &out, 20000, vectors);
        __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(found_control), "=m"(found_x87_control));
        if (memcmp(&out, &first, sizeof out))
            for (size_t i = 0; i < sizeof out; i++)
                if (((uint8_t *)&out)[i] != ((uint8_t *)&first)[i]) {
                    wrong("byte %zu of struct registers changed", i);
                    break;
                }
        if ((found_control & ~0x3fu) != control)
            wrong("mxcsr is %#x", found_control);
        if (found_x87_control != x87_control)
            wrong("x87 control word is %#x", found_x87_control);
        CHECK(!pthread_sigmask(SIG_SETMASK, NULL, &mask));
        for (int number = 1; number < 32; number++)
            if (sigismember(&mask, number) != (number == SIGUSR1))
                wrong("signal %d in the mask", number);
        for (int i = 0; i < 8; i++)
            sort_results(value + i);
        atomic_fetch_add(&rounds[REGISTERS], 1);
    }
    return unused;
}

/* ---- threads that block ---- */

static _Atomic uint32_t word;
static int pipe_ends[2];

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static void *sleep_and_feed(void *unused)
{
    for (uint32_t number = 1;; number++) {
        struct timespec time = {0, 1000000};
        uint64_t start = now();
        if (!nanosleep(&time, NULL)) {
            if (now() - start < 1000000)
                wrong("nanosleep came back after %u ns", (unsigned)(now() - start));
        } else if (errno == EINTR)
            atomic_fetch_add(&interrupted, 1);
        else
            wrong("nanosleep: errno %d", errno);
        atomic_fetch_add(&word, 1);
        if (syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) < 0)
            wrong("FUTEX_WAKE: errno %d", errno);
        if (write(pipe_ends[1], &number, sizeof number) != sizeof number)
            wrong("write: errno %d", errno);
        atomic_fetch_add(&rounds[SLEEPER], 1);
    }
    return unused;
}

static void *wait_for_futex(void *unused)
{
    for (;;) {
        uint32_t seen = atomic_load(&word);
        if (syscall(SYS_futex, &word, FUTEX_WAIT, seen, NULL, NULL, 0) && errno != EAGAIN) {
            if (errno == EINTR)
                atomic_fetch_add(&interrupted, 1);
            else
                wrong("FUTEX_WAIT: errno %d", errno);
        }
        atomic_fetch_add(&rounds[FUTEX], 1);
    }
    return unused;
}

static void *poll_and_read(void *unused)
{
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 42};
    CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[0], &event));
    for (uint32_t wanted = 1;;) {
        struct epoll_event found = {0};
        int count = epoll_wait(epoll, &found, 1, -1);
        if (count < 0 && errno == EINTR) {
            atomic_fetch_add(&interrupted, 1);
            continue;
        }
        if (count != 1 || found.data.u32 != 42)
            wrong("epoll_wait is %d, errno %d", count, errno);
        uint32_t number = 0;
        ssize_t length = read(pipe_ends[0], &number, sizeof number);
        if (length < 0 && errno == EINTR) {
            atomic_fetch_add(&interrupted, 1);
            continue;
        }
        if (length != sizeof number || number != wanted)
            wrong("read %zd bytes, number %u instead of %u", length, number, wanted);
        wanted = number + 1;
        atomic_fetch_add(&rounds[POLLER], 1);
    }
    return unused;
}

/* ---- the test's lines ---- */

static void beat(void)
{
    unsigned start[THREADS];
    atomic_store(&old_results, 0);
    atomic_store(&new_results, 0);
    atomic_store(&newer_results, 0);
    for (int i = 0; i < THREADS; i++)
        start[i] = atomic_load(&rounds[i]);
    for (int i = 0; i < THREADS; i++)
        while (atomic_load(&rounds[i]) - start[i] < ROUNDS) {
            struct timespec time = {0, 200000};
            nanosleep(&time, NULL);
        }
    say("old %u new %u wrong %u interrupted %u errors %u newer %u %s", atomic_load(&old_results),
        atomic_load(&new_results), atomic_load(&wrong_results), atomic_load(&interrupted),
        atomic_load(&errors), atomic_load(&newer_results), first_error);
}

int main(void)
{
    static void *(*const bodies[THREADS])(void *) = {keep_registers, sleep_and_feed, wait_for_futex,
                                                     poll_and_read};
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1); /* so that a mask that was not given back shows */
    CHECK(!pthread_sigmask(SIG_SETMASK, &mask, NULL));
    CHECK(!pipe(pipe_ends));
    for (int i = 0; i < THREADS; i++) {
        pthread_t handle;
        CHECK(!pthread_create(&handle, NULL, bodies[i], NULL));
        pthread_setname_np(handle, names[i]);
    }
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "beat"))
            beat();
        else
            say("what is %s?", line);
    }
}
