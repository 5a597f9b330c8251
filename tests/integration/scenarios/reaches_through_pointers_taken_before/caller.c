/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Through the library's table, through a pointer of a thread that took it before it was patched, through one
 * that is taken now. All are one address, whatever was patched since.
 */
#include "house.h"

extern int discount(int price);
extern int (*const discounts[1])(int);

SITUATION(reaches_through_pointers_taken_before)

static int (*volatile taken_at_start)(int);

__attribute__((constructor)) static void take(void)
{
    taken_at_start = discount;
}

static enum age call(unsigned number)
{
    static __thread int (*volatile taken_by_this_thread)(int);
    int (*volatile taken_now)(int) = discount;
    if (!taken_by_this_thread)
        taken_by_this_thread = discount;
    int (*pointers[])(int) = {discounts[0], taken_at_start, taken_by_this_thread, taken_now};
    for (int i = 0; i < 4; i++)
        if (pointers[i] != taken_at_start)
            return WRONG;
    int price = number;
    return age_of(pointers[number % 4](price), price * 3 + 1, price * 3 + 2);
}
