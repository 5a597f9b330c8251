/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The handshake of every test program: say "ready", then answer one line for each line read, until
 * standard input ends. Numbers of threads and of system calls go over the same lines, so that a test
 * waits for what happened and never for time to pass.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line to the test, at once. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/* The next line from the test, without its newline; the program ends with the test's end of the pipe. */
static inline char *hear(void)
{
    static char line[256];
    if (!fgets(line, sizeof line, stdin))
        exit(0);
    line[strcspn(line, "\n")] = 0;
    return line;
}

/* The argument of a line "WORD ARGUMENT", or NULL where the line has another word. */
static inline const char *after(const char *line, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(line, word, length) || (line[length] != ' ' && line[length] != 0))
        return NULL;
    return line + length + (line[length] == ' ');
}

/* A failed call ends the program loudly: the test reads the signal. */
#define CHECK(condition)                                                                               \
    do {                                                                                               \
        if (!(condition)) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                                   \
        }                                                                                              \
    } while (0)

#endif
