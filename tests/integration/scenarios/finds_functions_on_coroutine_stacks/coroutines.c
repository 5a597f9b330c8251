/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Coroutines, each suspended outside of `pausing`, or inside; another thread looks on.
 *
 *   argument 1   where their stacks are: static, heap, mapped (with a guard below)
 *   argument 2   MiB that are touched besides
 *
 *   enter I      coroutine I goes on, and is suspended inside: "inside"
 *   leave I      it comes out, does something else of some depth, and is suspended: "left RESULT"
 *
 * With -DBY_HAND the switch is a few instructions of our own, and no name gives it away.
 */
#include "protocol.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define COROUTINES 100
#define ROOM 16384

extern int pausing(int);

static int current, results[COROUTINES];
static void go_on(int);
static void give_way(void);

void pause_inside(void)
{
    give_way();
}

/* What overwrites the traces of calls that are over. */
__attribute__((noinline)) static void elsewhere(void)
{
    volatile char room[2048];
    for (unsigned i = 0; i < sizeof room; i++)
        room[i] = 1;
}

static void body(void)
{
    for (;;) {
        int own = current;
        elsewhere();
        give_way();
        results[own] = pausing(own);
    }
}

static char *room(const char *where)
{
    static _Alignas(16) char memory[COROUTINES][ROOM];
    static int used;
    if (!strcmp(where, "static"))
        return memory[used++];
    if (!strcmp(where, "heap"))
        return malloc(ROOM);
    char *mapped = mmap(NULL, ROOM + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED && !mprotect(mapped + 4096, ROOM, PROT_READ | PROT_WRITE));
    return mapped + 4096;
}

#ifndef BY_HAND
#include <ucontext.h>

static ucontext_t scheduler, contexts[COROUTINES];

static void start(int index, char *stack)
{
    CHECK(!getcontext(&contexts[index]));
    contexts[index].uc_stack.ss_sp = stack;
    contexts[index].uc_stack.ss_size = ROOM;
    makecontext(&contexts[index], body, 0);
}

static void give_way(void)
{
    swapcontext(&contexts[current], &scheduler);
}

static void go_on(int index)
{
    current = index;
    CHECK(!swapcontext(&scheduler, &contexts[index]));
}
#else
/* Push what a call preserves, change stacks, pop it again. */
void change(void **leave, void *enter);
__asm__(".text\n"
        "change:\n"
#ifdef __x86_64__
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, (%rdi); mov %rsi, %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
#define SAVED 6
#else
        "mov 4(%esp), %eax; mov 8(%esp), %edx\n"
        "push %ebp; push %ebx; push %esi; push %edi\n"
        "mov %esp, (%eax); mov %edx, %esp\n"
        "pop %edi; pop %esi; pop %ebx; pop %ebp\n"
#define SAVED 4
#endif
        "ret\n");

static void *suspended[COROUTINES], *scheduler;

static void start(int index, char *stack)
{
    void **top = (void **)((unsigned long)(stack + ROOM) & -16UL) - 1; /* as after a call */
    *--top = body;
    suspended[index] = memset(top - SAVED, 0, SAVED * sizeof *top);
}

static void give_way(void)
{
    change(&suspended[current], scheduler);
}

static void go_on(int index)
{
    current = index;
    change(&scheduler, suspended[index]);
}
#endif

static void *sleeps(void *unused)
{
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    for (int i = 0; i < COROUTINES; i++) {
        start(i, room(argc > 1 ? argv[1] : "static"));
        if (i % 10) /* the tenth ones have never run yet */
            go_on(i);
    }
    if (argc > 2)
        memset(malloc((size_t)atoi(argv[2]) << 20), 1, (size_t)atoi(argv[2]) << 20);
    CHECK(!pthread_create(&thread, NULL, sleeps, NULL));
    say("ready");
    for (;;) {
        const char *line = hear(), *which;
        if ((which = after(line, "enter"))) {
            go_on(atoi(which));
            say("inside");
        } else if ((which = after(line, "leave"))) {
            go_on(atoi(which));
            say("left %d", results[atoi(which)]);
        }
    }
}
