/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>
#include <time.h>

int serve(int request)
{
    struct timespec rest = {.tv_nsec = 2 * 1000 * 1000};
    nanosleep(&rest, &rest);
    return request * 3 + 2;
}
