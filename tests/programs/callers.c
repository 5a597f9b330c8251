/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   callers THREADS HOW MICROSECONDS [NUMBER]
 *
 * Each thread calls slow functions for ever, and passes its time inside:
 *
 *   spin    computing
 *   sleep   in nanosleep(2)
 *   one     the same, in slow_int only: half a patch looks like all of it or like none
 *   block   in read(2), until it gets a byte, one every so many microseconds
 *   jump    computing, and leaves every other call by longjmp(3)
 *   fork    in nanosleep(2) and in fork(2), in slow_int only: the child returns from there, too, and ends
 *   leave   sleeping, and leaves the fifth call by pthread_exit(3), through a frame that must be cleaned up
 *
 * With NUMBER, a seccomp filter kills for that system call. Then:
 *
 *   beat    when each thread has made some more calls: "old N new N wrong N ..."; old, new: what calls returned
 *   stuck   another thread goes into a slow function and never comes back: "stuck TID"
 *   free    it does: "freed RESULT"
 */
#define _GNU_SOURCE
#include "protocol.h"
#include "slow.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SPIN, SLEEP, BLOCK, JUMP, ONE, FORK, LEAVE, STUCK, CHILD };
static const char *const names[] = {"spin", "sleep", "block", "jump", "one", "fork", "leave"};
static long micros;
static int threads, gate[2], door[2], told[2];
static __thread int how;
static __thread jmp_buf back;
static __thread int *calls_here, jumps;
static __thread volatile long *children_wrong;

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
        if (how == JUMP && jumps++ & 1)
            longjmp(back, 1);
        break;
    }
    case SLEEP:
    case ONE:
        while (nanosleep(&nap, &nap))
            ;
        break;
    case FORK: {
        int status;
        while (nanosleep(&nap, &nap))
            ;
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child)
            how = CHILD;
        else if (waitpid(child, &status, 0) != child || status)
            *children_wrong += 1;
        break;
    }
    case BLOCK:
        CHECK(read(gate[0], &byte, 1) == 1);
        break;
    case LEAVE:
        usleep(micros);
        if (++*calls_here == 5)
            pthread_exit(NULL);
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
    children_wrong = &mine->wrong;
    int number = mine - counters;
    usleep(micros * number / threads); /* out of step */
    for (;;) {
        /* Kept in registers across the calls, by a compiler that knows no better. */
        long a = number, b = ~a, c = a ^ 0x1234567, d = a * 77;
        __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
        if (how == JUMP) {
            if (!setjmp(back))
                count(mine, slow_int(number, 2) - 10 * number);
        } else {
            long which = slow_int(number, mine->calls % 4) - 10 * number;
            if (how == CHILD)
                _exit(which != 1 && which != 2);
            count(mine, which);
        }
        if (how != JUMP && how != ONE && how != FORK) {
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

static void cleaned(struct counter **mine)
{
    (*mine)->calls++;
}

/* Compiled with -fexceptions it has a personality routine. */
static int guarded(struct counter *mine, int number)
{
    __attribute__((cleanup(cleaned))) struct counter *guard = mine;
    return slow_int(number, 0) + (guard != mine);
}

static void *visits(void *given)
{
    struct counter *mine = given;
    int here = 0;
    how = LEAVE;
    calls_here = &here;
    for (;;)
        count(mine, guarded(mine, 7) - 70);
    return NULL;
}

/* One thread after the other; each is cleaned up after as often as it has made calls. */
static void *replaces(void *given)
{
    struct counter *mine = given;
    pthread_t thread;
    for (;;) {
        long before = mine->calls;
        CHECK(!pthread_create(&thread, NULL, visits, mine));
        CHECK(!pthread_join(thread, NULL));
        if (mine->calls != before + 5)
            mine->wrong++;
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
    say("old %ld new %ld wrong %ld interrupted 0 errors 0 newer 0 .", old, new, wrong); /* as killtarget.c does */
}

static void filter(int number)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof lines / sizeof *lines, lines};
    CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

int main(int argc, char **argv)
{
    pthread_t thread;
    CHECK(argc >= 4 && !pipe(gate) && !pipe(door) && !pipe(told));
    threads = atoi(argv[1]);
    micros = atol(argv[3]);
    int what = SPIN;
    while (strcmp(names[what], argv[2]))
        what++;
    if (argc > 4)
        filter(atoi(argv[4]));
    if (what == BLOCK)
        CHECK(!pthread_create(&thread, NULL, feeds, NULL));
    for (int index = 0; index < threads; index++) {
        counters[index].calls = what == LEAVE ? 0 : what;
        CHECK(!pthread_create(&thread, NULL, what == LEAVE ? replaces : calls, &counters[index]));
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
