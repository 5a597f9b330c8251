/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function, and a table that has its address since the program was linked.
 */
int discount(int price)
{
    return price * 3 + 1;
}

int (*const discounts[1])(int) = {discount};
