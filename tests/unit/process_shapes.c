/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A process of the shape that its argument names, which says "ready" when it has it. Everybody waits in a
 * read of a pipe that nobody writes to, so that a look from outside finds a stack pointer.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol.h"

static int never[2];
static pthread_barrier_t all_started;
static pthread_t leader;

static void wait_for_ever(void)
{
    char byte;
    CHECK(read(never[0], &byte, 1) == 1);
}

/* The letter after the name in /proc/PID/task/TID/stat. */
static char state_of(int tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    CHECK(fgets(text, sizeof text, file));
    fclose(file);
    return strrchr(text, ')')[2];
}

static void wait_for_state(int tid, char state)
{
    while (state_of(tid) != state)
        sched_yield();
}

/* Until a thread is blocked in wait_for_ever: the descriptor is the first argument of its system call. */
static void wait_until_it_waits(int tid)
{
    char path[64], text[256];
    int descriptor;
    do {
        descriptor = -1;
        sched_yield();
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
        FILE *file = fopen(path, "r");
        CHECK(file && fgets(text, sizeof text, file));
        fclose(file);
    } while (sscanf(text, "%*d 0x%x", &descriptor) != 1 || descriptor != never[0]);
}

static void *sleeper(void *tid)
{
    *(int *)tid = gettid();
    pthread_barrier_wait(&all_started);
    wait_for_ever();
    return NULL;
}

static void sleepers(int count)
{
    int tids[64] = {0};
    pthread_barrier_init(&all_started, NULL, count + 1);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, sleeper, &tids[i]));
    }
    pthread_barrier_wait(&all_started);
    for (int i = 0; i < count; i++)
        wait_until_it_waits(tids[i]);
}

static void *outlives(void *unused)
{
    pthread_join(leader, NULL);
    wait_for_state(getpid(), 'Z');
    say("ready");
    wait_for_ever();
    return unused;
}

/* Wait on another stack, as a coroutine that has entered a system call does. */
static void on_stack(char *top)
{
#ifdef __x86_64__
    __asm__ volatile("mov %0, %%rsp\n call wait_there" : : "r"((unsigned long)top & -16UL) : "memory");
#else
    __asm__ volatile("mov %0, %%esp\n call wait_there" : : "r"((unsigned long)top & -16UL) : "memory");
#endif
}

static int tid_on_heap;

__attribute__((used)) void wait_there(void)
{
    __atomic_store_n(&tid_on_heap, gettid(), __ATOMIC_RELEASE);
    wait_for_ever();
}

static void *on_heap(void *stack)
{
    on_stack((char *)stack + 200000);
    return NULL;
}

static void *says_when_on_heap(void *unused)
{
    while (!__atomic_load_n(&tid_on_heap, __ATOMIC_ACQUIRE))
        sched_yield();
    wait_until_it_waits(tid_on_heap);
    say("ready");
    wait_for_ever();
    return unused;
}

static int waits(void *unused)
{
    (void)unused;
    wait_for_ever();
    return 0;
}

static int tid_in_vfork;

static void *vforks(void *unused)
{
    __atomic_store_n(&tid_in_vfork, gettid(), __ATOMIC_RELEASE);
    pid_t child = vfork();
    CHECK(child >= 0);
    if (!child) {
        waits(NULL);
        _exit(0);
    }
    return unused;
}

int main(int count, char **arguments)
{
    static char stack[1 << 18];
    const char *shape = count > 1 ? arguments[1] : "plain";
    pthread_t thread;

    CHECK(!pipe(never));
    leader = pthread_self();
    if (!strcmp(shape, "threads")) {
        sleepers(8);
    } else if (!strcmp(shape, "leader_exited")) {
        CHECK(!pthread_create(&thread, NULL, outlives, NULL));
        pthread_exit(NULL);
    } else if (!strcmp(shape, "leader_on_heap")) {
        CHECK(!pthread_create(&thread, NULL, says_when_on_heap, NULL));
        on_heap(malloc(1 << 18));
    } else if (!strcmp(shape, "thread_on_heap")) {
        CHECK(!pthread_create(&thread, NULL, on_heap, malloc(1 << 18)));
        says_when_on_heap(NULL);
    } else if (!strcmp(shape, "given_stack")) {
        pthread_attr_t attributes;
        int tid = 0;
        pthread_barrier_init(&all_started, NULL, 2);
        pthread_attr_init(&attributes);
        CHECK(!pthread_attr_setstack(&attributes, stack, sizeof stack));
        CHECK(!pthread_create(&thread, &attributes, sleeper, &tid));
        pthread_barrier_wait(&all_started);
        wait_until_it_waits(tid);
    } else if (!strcmp(shape, "vfork")) {
        CHECK(!pthread_create(&thread, NULL, vforks, NULL));
        while (!__atomic_load_n(&tid_in_vfork, __ATOMIC_ACQUIRE))
            sched_yield();
        wait_for_state(tid_in_vfork, 'D');
    } else if (!strcmp(shape, "shares_memory")) {
        CHECK(clone(waits, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL) > 0);
    } else if (!strcmp(shape, "maps_file")) {
        /* the file as data, and a page of it again, behind its own text: neither is an image */
        FILE *file = fopen(arguments[2], "r");
        CHECK(file);
        CHECK(mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE, fileno(file), 0) != MAP_FAILED);
    }
    say("ready");
    while (hear())
        say("here");
}
