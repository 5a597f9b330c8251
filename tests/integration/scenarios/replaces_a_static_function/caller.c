/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

extern int to_pay(int price);

SITUATION(replaces_a_static_function)

static enum age call(unsigned number)
{
    int price = number, old = price + price * (price % 7) + 1;
    return age_of(to_pay(price), old, old + 1);
}
