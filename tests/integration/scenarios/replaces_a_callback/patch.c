/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

int by_price(const void *left, const void *right)
{
    return *(const int *)right - *(const int *)left;
}
