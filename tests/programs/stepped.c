/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Code to single-step through, so that a stack is seen at every instruction: prologues, epilogues, the PLT
 * and the dynamic linker's resolver (link with -z lazy), a signal's delivery and return, alloca, a realigned
 * stack, the vdso, a callback out of libc.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile int sink;

static NOINLINE int realigned(int size)
{
    volatile char wide[64] __attribute__((aligned(64)));
    volatile char *room = alloca(size);
    wide[3] = room[0] = (char)size;
    return wide[3] + room[0];
}

static NOINLINE int many_registers(int a, int b, int c, int d, int e)
{
    for (int i = 0; i < 2; i++)
        a += realigned(b + c * i) * d + e;
    return a;
}

static void on_signal(int number)
{
    sink = number;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

int main(void)
{
    int numbers[] = {3, 1, 2};
    struct timespec now;
    sink = many_registers(1, 2, 3, 4, 5);
    clock_gettime(CLOCK_MONOTONIC, &now);
    signal(SIGUSR1, on_signal);
    syscall(SYS_kill, getpid(), SIGUSR1);
    qsort(numbers, 3, sizeof *numbers, compare);
    clock_gettime(CLOCK_MONOTONIC, &now); /* bound now: straight to the vdso */
    return 0;
}
