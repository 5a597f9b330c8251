/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * alternates WHERE [alone]: a thread whose signal handler runs on an alternate stack, which is in memory of the
 * program (bss), between two guard pages like a thread's own (mapped), or a local array (local). With `alone`
 * it is the only thread, its handler blocks, and a byte from the test lets it go: "changed N".
 *
 *   enter WHAT HOW    the thread goes inside ("inside") the function `waiting`, which blocks in read, or stays
 *                     outside ("outside"); there a signal comes, and its handler blocks in read ("blocks") or
 *                     counts ("runs"): "entered TID"
 *   out               the handler comes to its end: how many bytes of the alternate stack that no handler has
 *                     used have changed
 *   leave             `waiting` is let out: "left RESULT"; also after "outside", which calls it then
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE 65536
#define USED 24576 /* by the handler and the kernel's frame, all registers that there are */

extern int waiting(int);

static unsigned char in_bss[SIZE] __attribute__((aligned(4096)));
static unsigned char *stack;
static const char *where;
static int alone;
static int starts[2], gate[2], handler_gate[2], answers[2];
static atomic_int handler_runs, in_handler, runs_on, go_inside, changed = -1;

static void handle(int number)
{
    char byte;
    int error = errno;
    (void)number;
    CHECK((uintptr_t)&byte - (uintptr_t)stack < SIZE);
    atomic_store(&in_handler, 1);
    if (alone)
        say("ready");
    if (atomic_load(&handler_runs))
        while (!atomic_load(&runs_on))
            ;
    else {
        ssize_t size = read(handler_gate[0], &byte, 1);
        CHECK(size == 1);
    }
    int count = 0;
    for (int i = 0; i < SIZE - USED; i++)
        count += stack[i] != 0xa5;
    atomic_store(&changed, count);
    errno = error;
}

static void take_stack(unsigned char *memory)
{
    stack = memory;
    memset(stack, 0xa5, SIZE);
    stack_t alternate = {.ss_sp = stack, .ss_size = SIZE};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};
    CHECK(!sigaltstack(&alternate, NULL) && !sigaction(SIGUSR1, &action, NULL));
}

/* Beneath the local array, as deep as a program may be when the signal comes. */
static __attribute__((noinline)) int deep(int (*function)(int), int descriptor)
{
    volatile unsigned char canary[8192];
    memset((void *)canary, 0x5a, sizeof canary);
    int result = function(descriptor);
    for (unsigned i = 0; i < sizeof canary; i++)
        CHECK(canary[i] == 0x5a);
    return result;
}

static int outside(int descriptor)
{
    char byte;
    CHECK(read(descriptor, &byte, 1) == 1);
    return 0;
}

static void *run(void *unused)
{
    unsigned char local[SIZE];
    unsigned char *mapped = mmap(NULL, SIZE + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED && !mprotect(mapped + 4096, SIZE, PROT_READ | PROT_WRITE));
    take_stack(!strcmp(where, "local") ? local : !strcmp(where, "mapped") ? mapped + 4096 : in_bss);
    char byte;
    int tid = syscall(SYS_gettid);
    while (read(starts[0], &byte, 1) == 1) {
        CHECK(write(answers[1], &tid, sizeof tid) == sizeof tid);
        int inside = atomic_load(&go_inside), result = deep(inside ? waiting : outside, gate[0]);
        if (!inside) {
            CHECK(write(gate[1], "", 1) == 1);
            result = waiting(gate[0]);
        }
        CHECK(write(answers[1], &result, sizeof result) == sizeof result);
    }
    return unused;
}

static int answer(void)
{
    int number;
    CHECK(read(answers[0], &number, sizeof number) == sizeof number);
    return number;
}

static void send(pthread_t thread)
{
    atomic_store(&in_handler, 0);
    CHECK(!pthread_kill(thread, SIGUSR1));
    while (!atomic_load(&in_handler))
        usleep(100);
}

static void *answer_alone(void *main_thread)
{
    send(*(pthread_t *)main_thread);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1);
    where = argv[1];
    CHECK(!pipe(starts) && !pipe(gate) && !pipe(handler_gate) && !pipe(answers));
    pthread_t thread, self = pthread_self();
    if (argc > 2) {
        alone = 1;
        unsigned char local[SIZE];
        take_stack(!strcmp(where, "local") ? local : in_bss);
        CHECK(!close(handler_gate[0]) && dup2(0, handler_gate[0]) >= 0); /* the test's line lets the handler go */
        CHECK(!pthread_create(&thread, NULL, answer_alone, &self) && !pthread_join(thread, NULL));
        say("changed %d", atomic_load(&changed));
        return 0;
    }
    CHECK(!pthread_create(&thread, NULL, run, NULL));
    say("ready");
    for (;;) {
        char *line = hear();
        const char *how;
        if ((how = after(line, "enter"))) {
            atomic_store(&go_inside, !strncmp(how, "inside", 6));
            atomic_store(&handler_runs, strstr(how, "runs") != NULL);
            atomic_store(&runs_on, 0);
            CHECK(write(starts[1], "", 1) == 1);
            int tid = answer();
            char path[64], text[64] = "";
            snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
            while (strtol(text, NULL, 10) != SYS_read || !*text || strncmp(text, "running", 7) == 0) {
                FILE *file = fopen(path, "r");
                CHECK(file && fgets(text, sizeof text, file));
                fclose(file);
            }
            send(thread);
            say("entered %d", tid);
        } else if (after(line, "out")) {
            atomic_store(&changed, -1);
            if (atomic_load(&handler_runs))
                atomic_store(&runs_on, 1);
            else
                CHECK(write(handler_gate[1], "", 1) == 1);
            while (atomic_load(&changed) < 0)
                usleep(100);
            say("%d", atomic_load(&changed));
        } else if (after(line, "leave")) {
            CHECK(write(gate[1], "", 1) == 1);
            say("left %d", answer());
        }
    }
}
