/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function that blocks: the thread inside it is asleep in read(2) until the program lets it go.
 */
#include <unistd.h>

int waiting(int descriptor)
{
    char byte;
    if (read(descriptor, &byte, 1) != 1)
        return -1;
#ifdef FIXED
    return 2;
#else
    return 1;
#endif
}
