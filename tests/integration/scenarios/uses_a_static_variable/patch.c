/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

extern unsigned tickets;

unsigned ticket(void)
{
    return __atomic_add_fetch(&tickets, 1, __ATOMIC_SEQ_CST) * 2 + 1;
}
