/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * remote_stacks KIND: a thread that waits in read on some kind of stack.
 *
 *   thread      its own
 *   given       one that the program made, without a guard
 *   unguarded   its own, without a guard
 *   hidden      one that the program made, with a guard that no map shows (glibc 2.42 makes its own so)
 *   full        its own, of which 3,000 bytes are left
 *   alternate   a signal handler's alternate stack
 *   coroutine   2.5 KB of the heap, other data above and below
 *
 *   ready TID
 *   check       "intact", or which byte near the stack changed
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CANARY 16384
#define COROUTINE 2560

static const char *kind;
static int pipe_ends[2];
static unsigned char *canary; /* CANARY bytes, COROUTINE bytes of stack, CANARY bytes */
static unsigned char alternate[65536];
static ucontext_t home, coroutine;

static void wait_here(void)
{
    char byte;
    say("ready %ld", (long)syscall(SYS_gettid));
    CHECK(read(pipe_ends[0], &byte, 1) == 1);
}

static void handle(int number)
{
    (void)number;
    wait_here();
}

/* Only what fits into a coroutine's stack: no stdio. */
static void in_coroutine(void)
{
    char byte;
    CHECK(write(pipe_ends[1], "", 1) == 1);
    CHECK(read(pipe_ends[0], &byte, 1) == 1);
    CHECK(read(pipe_ends[0], &byte, 1) == 1);
}

static __attribute__((noinline)) void use_up(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    CHECK(!pthread_getattr_np(pthread_self(), &attributes));
    CHECK(!pthread_attr_getstack(&attributes, &low, &size));
    pthread_attr_destroy(&attributes);
    say("ready %ld", (long)syscall(SYS_gettid));
    char here, byte;
    volatile char *block = alloca((uintptr_t)&here - (uintptr_t)low - 3000);
    block[0] = 1;
    /* The library's read would do; this one surely needs no stack. */
    long result;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_read), "D"(pipe_ends[0]), "S"(&byte), "d"(1l)
                     : "rcx", "r11", "memory");
#else
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(SYS_read), "b"(pipe_ends[0]), "c"(&byte), "d"(1)
                     : "memory");
#endif
    CHECK(result == 1 && block[0] == 1);
}

static void *run(void *unused)
{
    if (!strcmp(kind, "alternate")) {
        stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
        struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
        CHECK(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL));
        raise(SIGUSR1);
    } else if (!strcmp(kind, "coroutine")) {
        CHECK(!getcontext(&coroutine));
        coroutine.uc_stack.ss_sp = canary + CANARY;
        coroutine.uc_stack.ss_size = COROUTINE;
        coroutine.uc_link = &home;
        makecontext(&coroutine, in_coroutine, 0);
        say("ready %ld", (long)syscall(SYS_gettid));
        CHECK(!swapcontext(&home, &coroutine));
    } else if (!strcmp(kind, "full"))
        use_up();
    else
        wait_here();
    return unused;
}

static void check(void)
{
    for (int i = 0; i < 2 * CANARY + COROUTINE; i++)
        if (canary[i] != 0xa5 && (i < CANARY || i >= CANARY + COROUTINE)) {
            say("byte %d changed", i);
            return;
        }
    say("intact");
}

int main(int count, char **words)
{
    CHECK(count == 2);
    kind = words[1];
    char byte = 0; /* the first call of a function needs more stack than a coroutine has: ld.so binds it */
    CHECK(!pipe(pipe_ends));
    CHECK(write(pipe_ends[1], &byte, 1) == 1 && read(pipe_ends[0], &byte, 1) == 1);
    canary = malloc(2 * CANARY + COROUTINE);
    memset(canary, 0xa5, 2 * CANARY + COROUTINE);
    pthread_attr_t attributes;
    CHECK(!pthread_attr_init(&attributes));
    if (!strcmp(kind, "unguarded")) {
        CHECK(!pthread_attr_setguardsize(&attributes, 0));
    } else if (!strcmp(kind, "hidden")) {
        size_t size = 1 << 18;
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory != MAP_FAILED);
        if (madvise(memory + 4096, 4096, 102 /* MADV_GUARD_INSTALL */)) {
            say("none");
            return 0;
        }
        CHECK(!pthread_attr_setstack(&attributes, memory + 8192, size - 8192));
    } else if (!strcmp(kind, "given")) {
        /* The file mapping below keeps it apart from any other guard. */
        size_t size = 1 << 18;
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory != MAP_FAILED);
        CHECK(!mprotect(memory, 4096, PROT_READ));
        CHECK(!pthread_attr_setstack(&attributes, memory + 4096, size - 4096));
    }
    pthread_t thread;
    CHECK(!pthread_create(&thread, &attributes, run, NULL));
    while (after(hear(), "check"))
        check();
}
