/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pausemeter THREADS: what a stop costs the application, as the application sees it.
 *
 *      busy thread, on CPU 1      work() work() work() |<----- gap ----->| work() work()
 *      THREADS - 1 sleepers       work(), 1 ms of sleep, work(), ...
 *
 * The largest time between two calls of the busy thread is in a shared page (struct page), which the
 * bench maps: /dev/shm/pausemeter.PID. Words are 32 bits wide, so that a 32-bit meter writes them in one
 * piece; a gap ends at 4.29 s. The meter dies with the process that started it (PR_SET_PDEATHSIG).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

extern int work(int);

struct page {
    volatile uint32_t largest_gap; /* nanoseconds, since the last reset */
    volatile uint32_t calls;       /* of work, by the busy thread, since the last reset; wraps around */
    volatile uint32_t reset;       /* the bench writes 1, the meter 0 when it has begun anew */
    volatile uint32_t value;       /* what work(1) answered last: 4, patched 5 */
};

static struct page *page;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static void *sleep_most_of_the_time(void *unused)
{
    struct timespec millisecond = {0, 1000000};
    for (;;) {
        work(1);
        nanosleep(&millisecond, NULL);
    }
    return unused;
}

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    char path[64];
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "/dev/shm/pausemeter.%d", getpid());
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    must(file >= 0 && !ftruncate(file, 4096), path);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    must(page != MAP_FAILED, "mmap");

    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        must(!pthread_create(&thread, NULL, sleep_most_of_the_time, NULL), "pthread_create");
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(1, &one);
    must(!sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
    puts("ready");
    fflush(stdout);

    for (uint64_t last = now();;) {
        uint32_t value = work(1);
        uint64_t time = now(), gap = time - last;
        last = time;
        if (page->reset) {
            page->largest_gap = page->calls = 0;
            page->reset = 0;
            continue;
        }
        if (gap > page->largest_gap)
            page->largest_gap = gap > UINT32_MAX ? UINT32_MAX : gap;
        page->calls++;
        page->value = value;
    }
}
