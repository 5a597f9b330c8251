/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stacks to unwind. Called with the name of one, it builds that stack, says "ready" at its top and blocks
 * there in read(2), until standard input ends.
 *
 *   plain        main alone
 *   recursion    5,000 frames
 *   alloca       frames of a size that is known at run time only
 *   realigned    frames whose stack pointer was rounded down
 *   callback     qsort calls back
 *   handler      a handler without SA_SIGINFO, on the stack it interrupted in a system call
 *   siginfo      the same with SA_SIGINFO
 *   alternate    on an alternate stack, inside a handler on the normal one
 *   fault        the handler of a fault in the middle of a function
 *   first        the handler of a fault at the first instruction of a function, before anything is pushed
 *   noreturn     the innermost call never returns and is the last instruction of its function
 *   threads      seven more threads, each blocked in another way
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <alloca.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile int sink;

/* The innermost frame of all. */
static NOINLINE int block(void)
{
    say("ready %ld", (long)syscall(SYS_gettid));
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    if (sink != -1) /* always, but the compiler shall not know that nobody comes back */
        _exit(0);
    return 0;
}

static NOINLINE int recurse(int depth)
{
    volatile int here = depth; /* gcc would make a loop of it */
    if (!depth)
        return block();
    return recurse(depth - 1) + here;
}

static NOINLINE int with_alloca(int depth)
{
    volatile char *room = alloca(depth * 16 + 1);
    room[0] = (char)depth;
    if (!depth)
        return block();
    return with_alloca(depth - 1) + room[0];
}

static NOINLINE int realigned(int depth)
{
    volatile char wide[128] __attribute__((aligned(128)));
    volatile char *room = alloca(depth * 24 + 1);
    wide[depth] = room[0] = (char)((uintptr_t)wide & 127);
    if (!depth)
        return block();
    return realigned(depth - 1) + wide[depth] + room[0];
}

static int compare(const void *a, const void *b)
{
    if (++sink == 7)
        block();
    return *(const int *)a - *(const int *)b;
}

static void on_signal(int number)
{
    sink = number;
    block();
}

static void on_siginfo(int number, siginfo_t *info, void *context)
{
    sink = number + (info != NULL) + (context != NULL);
    block();
}

static void to_alternate(int number)
{
    sink = number;
    raise(SIGUSR2);
}

static void catch(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(!sigaction(number, &action, NULL));
}

/* Pushes and then faults: the interrupted address is in the middle, and no call's. */
int faults(int *where);
/* Its first instruction faults, and the function before it ends right there. */
void faults_at_once(void);
/* Ends with a call. */
void ends_with_call(int (*function)(void));

#ifdef __x86_64__
#define FRAME "push %rbx\n .cfi_adjust_cfa_offset 8\n .cfi_rel_offset rbx, 0\n"
#define FAULT "movl $1, (%rdi)\n pop %rbx\n .cfi_adjust_cfa_offset -8\n .cfi_restore rbx\n"
#define CALL "sub $8, %rsp\n .cfi_adjust_cfa_offset 8\n call *%rdi\n"
#else
#define FRAME "push %ebx\n .cfi_adjust_cfa_offset 4\n .cfi_rel_offset ebx, 0\n"
#define FAULT "movl 8(%esp), %eax\n movl $1, (%eax)\n pop %ebx\n .cfi_adjust_cfa_offset -4\n .cfi_restore ebx\n"
#define CALL "mov 4(%esp), %eax\n sub $12, %esp\n .cfi_adjust_cfa_offset 12\n call *%eax\n"
#endif

#define FUNCTION(name, body) \
    ".globl " name "\n .type " name ", @function\n" name ":\n .cfi_startproc\n" body \
    ".cfi_endproc\n .size " name ", . - " name "\n"

/* Without any padding: what follows a call is another function's first instruction. */
__asm__(".pushsection .text.asm, \"ax\", @progbits\n"
        FUNCTION("faults", FRAME FAULT "ret\n")
        FUNCTION("ends_with_call", CALL)
        FUNCTION("faults_at_once", "ud2\n ret\n")
        ".popsection\n");

static sem_t started, never;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *waits(void *argument)
{
    int way = (int)(intptr_t)argument;
    struct epoll_event event;
    struct timespec day = {86400, 0};
    sem_post(&started);
    switch (way) {
    case 0:
        sem_wait(&never);
        break;
    case 1:
        pthread_mutex_lock(&mutex);
        pthread_cond_wait(&condition, &mutex);
        break;
    case 2:
        nanosleep(&day, NULL);
        break;
    case 3:
        poll(NULL, 0, -1);
        break;
    case 4:
        for (int set = epoll_create1(0);;) /* a stop is enough to interrupt it */
            epoll_wait(set, &event, 1, -1);
        break;
    case 5:
        pause();
        break;
    default:
        select(0, NULL, NULL, NULL, NULL);
    }
    return NULL;
}

static NOINLINE void threads(void)
{
    pthread_t thread;
    sem_init(&started, 0, 0);
    sem_init(&never, 0, 0);
    for (int way = 0; way < 7; way++) {
        CHECK(!pthread_create(&thread, NULL, waits, (void *)(intptr_t)way));
        sem_wait(&started);
    }
    block();
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "plain";
    static char alternate[65536];
    int numbers[8] = {5, 3, 8, 1, 9, 2, 7, 4};
    if (!strcmp(name, "recursion"))
        sink = recurse(5000);
    else if (!strcmp(name, "alloca"))
        sink = with_alloca(20);
    else if (!strcmp(name, "realigned"))
        sink = realigned(20);
    else if (!strcmp(name, "callback"))
        qsort(numbers, 8, sizeof *numbers, compare);
    else if (!strcmp(name, "handler")) {
        catch(SIGUSR1, on_signal, 0);
        raise(SIGUSR1);
    } else if (!strcmp(name, "siginfo")) {
        catch(SIGUSR1, (void (*)(int))(void *)on_siginfo, SA_SIGINFO);
        raise(SIGUSR1);
    } else if (!strcmp(name, "alternate")) {
        stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
        CHECK(!sigaltstack(&stack, NULL));
        catch(SIGUSR1, to_alternate, 0);
        catch(SIGUSR2, on_signal, SA_ONSTACK);
        raise(SIGUSR1);
    } else if (!strcmp(name, "fault")) {
        catch(SIGSEGV, on_signal, 0);
        sink = faults(NULL);
    } else if (!strcmp(name, "first")) {
        catch(SIGILL, (void (*)(int))(void *)on_siginfo, SA_SIGINFO);
        faults_at_once();
    } else if (!strcmp(name, "noreturn"))
        ends_with_call(block);
    else if (!strcmp(name, "threads"))
        threads();
    else
        block();
    return 0;
}
