/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * timeouts MILLISECONDS: one thread each sits in a call that comes back when so much time has passed.
 *
 *   begin    starts them; their thread ids
 *   end      once all have come back: "NAME RESULT ERRNO" for each, with "early" where it was before its time
 *   work X   what work(X) answers
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern int work(int);

enum call { NANOSLEEP, POLL, SELECT, FUTEX, EPOLL_WAIT, RECV, SIGTIMEDWAIT, CALLS };
static const char *const names[CALLS] = {"nanosleep", "poll", "select", "futex", "epoll_wait", "recv", "sigtimedwait"};

static struct {
    pthread_t handle;
    pid_t tid;
    int result, error, early;
} threads[CALLS];
static pthread_barrier_t started;
static long milliseconds;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000) + time.tv_nsec / 1000000;
}

static int in_call(enum call call, int pipe_end, int epoll, int socket)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    struct timeval value = {milliseconds / 1000, milliseconds % 1000 * 1000};
    struct pollfd polled = {pipe_end, POLLIN, 0};
    struct epoll_event event;
    static int word;
    char byte;
    fd_set readable;
    sigset_t awaited;
    switch (call) {
    case NANOSLEEP:
        return nanosleep(&time, NULL);
    case POLL:
        return poll(&polled, 1, milliseconds);
    case SELECT:
        FD_ZERO(&readable);
        FD_SET(pipe_end, &readable);
        return select(pipe_end + 1, &readable, NULL, NULL, &value);
    case FUTEX:
        return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
    case EPOLL_WAIT:
        return epoll_wait(epoll, &event, 1, milliseconds);
    case RECV:
        CHECK(!setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
        return recv(socket, &byte, 1, 0);
    default:
        sigemptyset(&awaited);
        sigaddset(&awaited, SIGUSR1);
        return sigtimedwait(&awaited, NULL, &time);
    }
}

static void *sit(void *argument)
{
    enum call call = (enum call)(intptr_t)argument;
    int pipe_ends[2], sockets[2], epoll = epoll_create1(0);
    CHECK(epoll >= 0 && !pipe(pipe_ends) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    threads[call].tid = syscall(SYS_gettid);
    pthread_barrier_wait(&started);
    uint64_t begin = now();
    errno = 0;
    threads[call].result = in_call(call, pipe_ends[0], epoll, sockets[0]);
    threads[call].error = errno;
    threads[call].early = now() - begin < (uint64_t)milliseconds;
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    milliseconds = atol(argv[1]);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    CHECK(!pthread_sigmask(SIG_BLOCK, &blocked, NULL));
    say("ready");
    for (;;) {
        const char *line = hear(), *x;
        if (after(line, "begin")) {
            CHECK(!pthread_barrier_init(&started, NULL, CALLS + 1));
            for (intptr_t i = 0; i < CALLS; i++)
                CHECK(!pthread_create(&threads[i].handle, NULL, sit, (void *)i));
            pthread_barrier_wait(&started);
            for (int i = 0; i < CALLS; i++)
                printf("%d ", threads[i].tid);
            say(".");
        } else if (after(line, "end")) {
            for (int i = 0; i < CALLS; i++) {
                CHECK(!pthread_join(threads[i].handle, NULL));
                printf("%s %d %d%s, ", names[i], threads[i].result, threads[i].error, threads[i].early ? " early" : "");
            }
            say(".");
        } else if ((x = after(line, "work")))
            say("%d", work(atoi(x)));
    }
}
