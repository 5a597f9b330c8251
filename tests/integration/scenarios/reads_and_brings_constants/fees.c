/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A table of constants, and a function that has constants of its own: numbers with a fraction, a string.
 */
const int base_fees[4] = {1000, 2000, 3000, 4000};

const char *fee(int amount, int *result)
{
    *result = base_fees[amount % 4] + (int)(amount * 0.25);
    return "a quarter";
}
