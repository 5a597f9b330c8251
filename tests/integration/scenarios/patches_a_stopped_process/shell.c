/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * shell TERMINAL PROGRAM [ARGUMENT...]: a shell with one job, in the foreground of a terminal of its own.
 *
 *   wait     blocks until the job stops, continues or ends, and says so: "stopped 20", "continued 18"
 *   events   whatever else waitid(2) has, without waiting, and what SIGCHLD said since the last time
 *   bg       SIGCONT to the job
 *   fg       gives the job the terminal and SIGCONT
 *   take     takes the terminal away from the job
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static char told[4096];

static const char *word(int code)
{
    return code == CLD_STOPPED ? "stopped" : code == CLD_CONTINUED ? "continued" : "ended";
}

static void on_child(int number, siginfo_t *information, void *context)
{
    size_t length = strlen(told);
    (void)number, (void)context;
    snprintf(told + length, sizeof told - length, " signal:%s", word(information->si_code));
}

static int next_event(pid_t job, int options, siginfo_t *found)
{
    found->si_pid = 0;
    int result;
    do
        result = waitid(P_PID, job, found, WSTOPPED | WCONTINUED | WEXITED | options);
    while (result && errno == EINTR);
    CHECK(!result);
    return found->si_pid != 0;
}

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    int terminal = open(argv[1], O_RDWR); /* a session leader's first: its controlling terminal */
    CHECK(terminal >= 0);
    struct termios settings;
    CHECK(!tcgetattr(terminal, &settings));
    settings.c_lflag &= ~(tcflag_t)(ECHO | ECHOCTL);
    settings.c_lflag |= TOSTOP;
    settings.c_oflag &= ~(tcflag_t)OPOST;
    CHECK(!tcsetattr(terminal, TCSANOW, &settings));
    signal(SIGTTOU, SIG_IGN);
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(!sigaction(SIGCHLD, &action, NULL));
    pid_t job = fork();
    if (!job) {
        setpgid(0, 0);
        CHECK(!tcsetpgrp(terminal, getpid()));
        signal(SIGTTOU, SIG_DFL);
        CHECK(dup2(terminal, 0) == 0 && dup2(terminal, 1) == 1);
        execv(argv[2], argv + 2);
        CHECK(!"the program started");
    }
    setpgid(job, job);
    say("ready %d", job);
    for (;;) {
        siginfo_t found;
        const char *line = hear();
        if (after(line, "wait")) {
            next_event(job, 0, &found);
            say("%s %d", word(found.si_code), found.si_status);
        } else if (after(line, "events")) {
            while (next_event(job, WNOHANG, &found))
                printf("%s ", word(found.si_code));
            say(".%s", told);
            told[0] = 0;
        } else if (after(line, "fg") || after(line, "bg")) {
            if (after(line, "fg"))
                CHECK(!tcsetpgrp(terminal, job));
            CHECK(!kill(-job, SIGCONT));
            say("sent");
        } else if (after(line, "take")) {
            CHECK(!tcsetpgrp(terminal, getpgrp()));
            say("taken");
        }
    }
}
