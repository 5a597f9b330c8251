/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same without ucontext(3): the switch is a few instructions of our own, so that no name gives it away.
 * Between the test's lines the thread stands on the stack of a coroutine, blocked in read(2).
 */
#include "coroutines.h"

#include <unistd.h>

static void *suspended[COROUTINES], *scheduler;

/* Push what a call preserves, change stacks, pop it again. */
void change(void **leave, void *enter);
__asm__(".text\n"
        ".globl change\n"
        "change:\n"
#ifdef __x86_64__
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, (%rdi); mov %rsi, %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
#else
        "mov 4(%esp), %eax; mov 8(%esp), %edx\n"
        "push %ebp; push %ebx; push %esi; push %edi\n"
        "mov %esp, (%eax); mov %edx, %esp\n"
        "pop %edi; pop %esi; pop %ebx; pop %ebp\n"
#endif
        "ret\n");

#ifdef __x86_64__
#define SAVED 6
#else
#define SAVED 4
#endif

static int current;

static void body(void)
{
    for (;;) {
        turns[current] += work(current) == 3 * current + 1;
        change(&suspended[current], scheduler);
    }
}

static void start(int index)
{
    void **top = (void **)(stacks[index].room + sizeof stacks[index].room) - 1; /* as after a call */
    *--top = body;
    suspended[index] = top - SAVED; /* zeros for the registers: the stacks are static */
}

static void go_on(int index)
{
    current = index;
    change(&scheduler, suspended[index]);
}

/* A large stack of its own, in static memory: here the program reads its lines. */
static _Alignas(16) char reader[65536];
static void *reading;

static void read_a_byte(void)
{
    static char byte;
    for (;;) {
        if (read(0, &byte, 1) != 1)
            _exit(0);
        if (byte == '\n')
            change(&reading, scheduler);
    }
}

int main(void)
{
    for (int i = 0; i < COROUTINES; i++)
        start(i);
    void **top = (void **)(reader + sizeof reader) - 1;
    *--top = read_a_byte;
    reading = top - SAVED;
    load(go_on);
    say("ready");
    for (;;) {
        change(&scheduler, reading);
        say("%d coroutines, %d canaries lost", load(go_on), lost());
    }
}
