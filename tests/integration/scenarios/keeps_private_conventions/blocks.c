/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A caller that keeps a value over a call of a function without calls; the new function blocks in read(2).
 */
#include <unistd.h>

#ifdef PATCH
int inner(int descriptor, int first, int second)
{
    char byte;
    return read(descriptor, &byte, 1) == 1 ? first * 300 - second * 300 + 2 : -1;
}
#else
static volatile int kept = 7;

static int __attribute__((noinline)) inner(int descriptor, int first, int second)
{
    return descriptor < 0 ? -1 : first * 300 - second * 300 + 1;
}

int waiting(int descriptor)
{
    int first = kept, second = kept;
    return inner(descriptor, first, second) + first - second;
}
#endif
