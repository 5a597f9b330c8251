/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The unit that most tests fix: `work(x)` is 3x + 1, and 3x + 2 once it is fixed (3x + N where several fixes
 * are told apart: -DFIXED -DPLUS=N). It keeps a static variable (how often it was called), refers to a global
 * and to a string, and calls into libc on a path that is not taken, so that its patch has every common kind of
 * reference.
 */
#include <stdio.h>

#ifndef PLUS
#define PLUS 2
#endif

int scale = 3;
static unsigned calls;

int work(int x)
{
    calls++;
    if (scale < 0)
        printf("scale is %d after %u calls\n", scale, calls);
#ifdef FIXED
    return x * scale + PLUS;
#else
    return x * scale + 1;
#endif
}

/* Another function of the same unit: for patches that must not meet. */
int rest(int x)
{
    calls += 2;
#ifdef FIXED_REST
    return x - scale - 1;
#else
    return x - scale;
#endif
}

unsigned times(void)
{
    return calls;
}
