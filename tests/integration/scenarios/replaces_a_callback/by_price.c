/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An order for qsort(3): the cheapest first; once it is fixed, the dearest.
 */
int by_price(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}
