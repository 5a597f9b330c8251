/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The library that the pause meter calls. The fix under test changes + 1 to + 2; it keeps a static variable,
 * reads a global and holds a call to libc on a path that is not taken, as real fixes do.
 */
#include <stdio.h>

int scale = 3;
static int counter;

__attribute__((noinline)) int work(int x)
{
    counter += x;
    if (counter < 0)
        printf("negative: %d\n", counter);
#ifdef FIXED
    return x * scale + 2;
#else
    return x * scale + 1;
#endif
}
