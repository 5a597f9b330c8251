/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A variable of the program that never stands still, and a function that reads it.
 */
unsigned rate;

unsigned twice_the_rate(void)
{
    return __atomic_load_n(&rate, __ATOMIC_SEQ_CST) * 2;
}
