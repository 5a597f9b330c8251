/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The C library calls the function that is replaced. One that changes while it sorts would be seen.
 */
#include "house.h"

#include <stdlib.h>

extern int by_price(const void *left, const void *right);

SITUATION(replaces_a_callback)

static enum age call(unsigned number)
{
    int first = number % 3, prices[] = {first + 4, first + 1, first + 5, first + 2, first + 3};
    size_t count = sizeof prices / sizeof *prices;
    qsort(prices, count, sizeof *prices, by_price);
    int rises = 1, falls = 1;
    for (size_t i = 0; i < count; i++) {
        rises &= prices[i] == first + 1 + (int)i;
        falls &= prices[i] == first + 5 - (int)i;
    }
    return rises ? OLD : falls ? NEW : WRONG;
}
