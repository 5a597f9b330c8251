/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * remote_blocked CALL: one thread sits in CALL, over and over, and counts how it came back.
 *
 *   ready TID    the thread that will sit in CALL
 *   counts       "returned N eintr N errno E": since the start; E is the last other error
 *   signal       the thread gets SIGUSR1, which has a handler; answered at once
 *   handled      how often the handler ran
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FOREVER 100000 /* seconds, or milliseconds: longer than any test */

static atomic_uint returned, eintr, handled;
static atomic_int other;
static int pipe_ends[2], plain[2], timed[2], listener, timed_listener, epoll, semaphores, messages, child, ring;
static aio_context_t aio;
static int futex_word;
static sigset_t awaited;

static long in_call(const char *name)
{
    char bytes[64];
    struct timespec time = {FOREVER, 0};
    struct iovec vector = {bytes, 1};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    struct mmsghdr headers = {.msg_hdr = header};
    struct sembuf take = {0, -1, 0};
    struct epoll_event event;
    struct pollfd polled = {pipe_ends[0], POLLIN, 0};
    struct io_event done;
    sigset_t none;
    siginfo_t info;
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(pipe_ends[0], &readable);
    sigemptyset(&none);
#define IS(word) (!strcmp(name, word))
    if (IS("epoll_wait"))
        return epoll_wait(epoll, &event, 1, -1);
    if (IS("epoll_wait_timeout"))
        return epoll_wait(epoll, &event, 1, FOREVER);
    if (IS("epoll_pwait"))
        return epoll_pwait(epoll, &event, 1, -1, &none);
    if (IS("sigtimedwait"))
        return sigtimedwait(&awaited, &info, &time);
    if (IS("sigwaitinfo"))
        return sigwaitinfo(&awaited, &info);
    if (IS("semop"))
        return semop(semaphores, &take, 1);
    if (IS("semtimedop"))
        return semtimedop(semaphores, &take, 1, &time);
    if (IS("recv_timeout"))
        return recv(timed[0], bytes, 1, 0);
    if (IS("recvmsg_timeout"))
        return recvmsg(timed[0], &header, 0);
    if (IS("recvmmsg_timeout"))
        return recvmmsg(timed[0], &headers, 1, 0, NULL);
    if (IS("read_timeout"))
        return read(timed[0], bytes, 1);
    if (IS("readv_timeout"))
        return readv(timed[0], &vector, 1);
    if (IS("accept_timeout"))
        return accept(timed_listener, NULL, NULL);
    if (IS("accept4_timeout"))
        return accept4(timed_listener, NULL, NULL, SOCK_CLOEXEC);
    if (IS("io_getevents"))
        return syscall(SYS_io_getevents, aio, 1, 1, &done, NULL);
    if (IS("epoll_pwait2"))
        return syscall(SYS_epoll_pwait2, epoll, &event, 1, NULL, NULL, 0);
    if (IS("io_uring_enter"))
        return syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
#ifdef __i386__
    if (IS("socketcall_recv_timeout"))
        return syscall(SYS_socketcall, 10, (long[]){timed[0], (long)bytes, 1, 0});
    if (IS("socketcall_accept_timeout"))
        return syscall(SYS_socketcall, 5, (long[]){timed_listener, 0, 0});
    if (IS("ipc_semop"))
        return syscall(SYS_ipc, 1, semaphores, 1, 0, &take);
#endif
    if (IS("send_timeout")) {
        while (send(timed[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            ;
        return send(timed[1], bytes, sizeof bytes, 0);
    }
    if (IS("recv"))
        return recv(plain[0], bytes, 1, 0);
    if (IS("accept"))
        return accept(listener, NULL, NULL);
    if (IS("read"))
        return read(pipe_ends[0], bytes, 1);
    if (IS("poll"))
        return poll(&polled, 1, FOREVER);
    if (IS("ppoll"))
        return ppoll(&polled, 1, &time, &none);
    if (IS("select"))
        return select(pipe_ends[0] + 1, &readable, NULL, NULL, NULL);
    if (IS("nanosleep"))
        return nanosleep(&time, NULL);
    if (IS("futex"))
        return syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, NULL, NULL, 0);
    if (IS("futex_timeout"))
        return syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, &time, NULL, 0);
    if (IS("pause"))
        return pause();
    if (IS("sigsuspend"))
        return sigsuspend(&none);
    if (IS("msgrcv"))
        return msgrcv(messages, bytes, 8, 0, 0);
    if (IS("waitpid"))
        return waitpid(child, NULL, 0);
    fprintf(stderr, "no call %s\n", name);
    abort();
}

static void *sit(void *name)
{
    say("ready %ld", (long)syscall(SYS_gettid));
    for (;;) {
        errno = 0;
        long result = in_call(name);
        if (result < 0 && errno == EINTR)
            atomic_fetch_add(&eintr, 1);
        else if (result < 0)
            atomic_store(&other, errno);
        atomic_fetch_add(&returned, 1);
    }
    return NULL;
}

static void handle(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static int listening(void)
{
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    sa_family_t family = AF_UNIX; /* nothing else: the kernel makes up a name */
    CHECK(descriptor >= 0 && !bind(descriptor, (struct sockaddr *)&family, sizeof family));
    CHECK(!listen(descriptor, 1));
    return descriptor;
}

int main(int count, char **words)
{
    CHECK(count == 2);
    struct timeval limit = {FOREVER, 0};
    struct epoll_event event = {.events = EPOLLIN};
    struct sigaction action = {.sa_handler = handle};
    CHECK(!sigaction(SIGUSR1, &action, NULL));
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR2);
    CHECK(!sigprocmask(SIG_BLOCK, &awaited, NULL));
    CHECK(!pipe(pipe_ends) && !socketpair(AF_UNIX, SOCK_STREAM, 0, plain));
    CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, timed));
    CHECK(!setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    CHECK(!setsockopt(timed[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    listener = listening();
    timed_listener = listening();
    CHECK(!setsockopt(timed_listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    epoll = epoll_create1(0);
    CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_ends[0], &event));
    CHECK(!unshare(CLONE_NEWIPC)); /* System V objects would outlive the process */
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    messages = msgget(IPC_PRIVATE, 0600);
    CHECK(semaphores >= 0 && messages >= 0);
    CHECK(syscall(SYS_io_setup, 1, &aio) >= 0 || errno == ENOSYS);
    ring = syscall(SYS_io_uring_setup, 1, &(struct io_uring_params){0});
    child = fork();
    if (!child)
        for (;;)
            pause();
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, sit, words[1]));
    for (;;) {
        const char *line = hear();
        if (after(line, "counts"))
            say("returned %u eintr %u errno %d", atomic_load(&returned), atomic_load(&eintr),
                atomic_load(&other));
        else if (after(line, "signal")) {
            CHECK(!pthread_kill(thread, SIGUSR1));
            say("sent");
        } else if (after(line, "handled"))
            say("%u", atomic_load(&handled));
        else
            say("what is %s?", line);
    }
}
