/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
static unsigned visitors;

unsigned visit_north(void)
{
    return __atomic_add_fetch(&visitors, 1, __ATOMIC_SEQ_CST) * 2;
}
