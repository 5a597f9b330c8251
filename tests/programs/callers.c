/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   callers THREADS HOW MICROSECONDS
 *
 * Each thread calls slow functions for ever, in which it spins, sleeps, blocks in read(2) ("block": until the
 * program gives it a byte, every so many microseconds), or jumps out with longjmp(3).
 *
 * With "one" they sleep in slow_int, and call no other: half a patch looks like all of it or like none.
 *
 *   beat    when each thread has made some more calls: "old N new N wrong N ..."; old, new: what calls returned
 *   stuck   another thread goes into a slow function and never comes back: "stuck TID"
 *   free    it does: "freed RESULT"
 */
#define _GNU_SOURCE
#include "protocol.h"
#include "slow.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN, SLEEP, BLOCK, JUMP, ONE, STUCK };
static const char *const names[] = {"spin", "sleep", "block", "jump", "one"};
static long micros;
static int threads, gate[2], door[2], told[2];
static __thread int how;
static __thread jmp_buf back;

static struct counter {
    volatile long calls, old, new, wrong;
} __attribute__((aligned(64))) counters[128];

static long long now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

void pass_time(void)
{
    char byte;
    struct timespec nap = {micros / 1000000, micros % 1000000 * 1000};
    switch (how) {
    case SPIN:
    case JUMP: {
        long long end = now() + micros * 1000LL;
        while (now() < end)
            ;
        if (how == JUMP)
            longjmp(back, 1);
        break;
    }
    case SLEEP:
    case ONE:
        while (nanosleep(&nap, &nap))
            ;
        break;
    case BLOCK:
        CHECK(read(gate[0], &byte, 1) == 1);
        break;
    case STUCK:
        CHECK(read(door[0], &byte, 1) == 1);
    }
}

/* A result less what the arguments say: which code computed it. */
static void count(struct counter *mine, long long which)
{
    if (which == 1)
        mine->old++;
    else if (which == 2)
        mine->new++;
    else
        mine->wrong++;
}

static void *calls(void *given)
{
    struct counter *mine = given;
    how = (int)mine->calls;
    mine->calls = 0;
    int number = mine - counters;
    for (;;) {
        /* Kept in registers across the calls, by a compiler that knows no better. */
        long a = number, b = ~a, c = a ^ 0x1234567, d = a * 77;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
        if (how == JUMP) {
            if (!setjmp(back))
                slow_int(number, 2);
            else
                mine->old++; /* nothing to tell it by */
        } else {
            count(mine, slow_int(number, mine->calls % 4) - 10 * number);
        }
        if (how != JUMP && how != ONE) {
            struct two two = slow_two(number);
            count(mine, two.second == ~two.first ? two.first - 10 * number : -1);
            count(mine, slow_long(number) - ((long long)~number << 32 | number * 10));
            count(mine, (long long)(slow_real(number) - 0.5) - 10 * number);
        }
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
        if (a != number || b != ~a || c != (a ^ 0x1234567) || d != a * 77)
            mine->wrong++;
        number = (number + 1) & 0xffff;
        mine->calls++;
    }
    return NULL;
}

static void *feeds(void *unused)
{
    struct timespec nap = {micros / 1000000, micros % 1000000 * 1000};
    for (;;) {
        nanosleep(&nap, NULL);
        CHECK(write(gate[1], "", 1) == 1);
    }
    return unused;
}

static void *enters(void *unused)
{
    char byte;
    how = STUCK;
    int tid = syscall(SYS_gettid);
    CHECK(write(told[1], &tid, sizeof tid) == sizeof tid);
    int result = slow_int(0, 0);
    CHECK(write(told[1], &result, sizeof result) == sizeof result);
    CHECK(read(door[0], &byte, 1) == 1);
    return unused;
}

static int answer(void)
{
    int number;
    CHECK(read(told[0], &number, sizeof number) == sizeof number);
    return number;
}

/* Results of calls that began after this was asked for: the second ones from now. */
static void beat(void)
{
    struct counter before[128];
    for (int round = 0; round < 2; round++) {
        memcpy(before, counters, sizeof before);
        for (int index = 0; index < threads; index++)
            while (counters[index].calls < before[index].calls + 2)
                usleep(500);
    }
    long old = 0, new = 0, wrong = 0;
    for (int index = 0; index < threads; index++) {
        old += counters[index].old - before[index].old;
        new += counters[index].new - before[index].new;
        wrong += counters[index].wrong;
    }
    say("old %ld new %ld wrong %ld interrupted 0 errors 0 .", old, new, wrong); /* as killtarget.c does */
}

int main(int argc, char **argv)
{
    pthread_t thread;
    CHECK(argc == 4 && !pipe(gate) && !pipe(door) && !pipe(told));
    threads = atoi(argv[1]);
    micros = atol(argv[3]);
    int what = SPIN;
    while (strcmp(names[what], argv[2]))
        what++;
    if (what == BLOCK)
        CHECK(!pthread_create(&thread, NULL, feeds, NULL));
    for (int index = 0; index < threads; index++) {
        counters[index].calls = what;
        CHECK(!pthread_create(&thread, NULL, calls, &counters[index]));
    }
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "beat")) {
            beat();
        } else if (after(line, "stuck")) {
            CHECK(!pthread_create(&thread, NULL, enters, NULL));
            say("stuck %d", answer());
        } else if (after(line, "free")) {
            CHECK(write(door[1], "", 1) == 1);
            say("freed %d", answer());
        }
    }
}
