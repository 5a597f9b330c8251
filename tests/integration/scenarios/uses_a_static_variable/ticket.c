/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers that only grow, from a variable that no other file can name.
 */
static unsigned tickets;

unsigned ticket(void)
{
    return __atomic_add_fetch(&tickets, 1, __ATOMIC_SEQ_CST) * 2;
}
