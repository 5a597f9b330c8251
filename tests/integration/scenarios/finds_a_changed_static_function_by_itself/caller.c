/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

extern int in_stock(int pieces), on_order(int pieces);

SITUATION(finds_a_changed_static_function_by_itself)

static enum age call(unsigned number)
{
    int pieces = number, old = pieces * 3 + 1;
    if (number % 2)
        return age_of(in_stock(pieces), (old - pieces % 3) * 2, (old + 1 - pieces % 3) * 2);
    return age_of(on_order(pieces), old - pieces % 5 + 4, old + 1 - pieces % 5 + 4);
}
