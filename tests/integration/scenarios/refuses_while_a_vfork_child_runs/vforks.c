/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   vfork    another thread calls vfork; its child waits in read: "child PID"
 *   end      the child ends, the thread goes on: "ended STATUS"
 *   work X
 */
#include "protocol.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

extern int work(int);
static int gate[2], told[2];

static void *parent(void *unused)
{
    int status;
    pid_t child = vfork();
    if (!child) {
        char byte;
        pid_t self = getpid();
        if (write(told[1], &self, sizeof self) != sizeof self || read(gate[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return (void *)(long)status;
}

int main(void)
{
    pthread_t thread;
    CHECK(!pipe(gate) && !pipe(told));
    say("ready");
    for (;;) {
        const char *line = hear(), *x;
        if (after(line, "vfork")) {
            pid_t child;
            CHECK(!pthread_create(&thread, NULL, parent, NULL));
            CHECK(read(told[0], &child, sizeof child) == sizeof child);
            say("child %d", child);
        } else if (after(line, "end")) {
            void *status;
            CHECK(write(gate[1], "", 1) == 1);
            CHECK(!pthread_join(thread, &status));
            say("ended %ld", (long)status);
        } else if ((x = after(line, "work")))
            say("%d", work(atoi(x)));
    }
}
