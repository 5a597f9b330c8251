/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

LIVEPATCH_FILE("tells_clashing_static_variables_apart/south.c");

extern unsigned visitors;
extern unsigned visitors_of_the_north;
LIVEPATCH_BIND(visitors_of_the_north, "visitors", "north.c");

unsigned visit_south(void)
{
    if (__atomic_load_n(&visitors_of_the_north, __ATOMIC_SEQ_CST) == 0)
        return 0; /* it never was, since there are calls */
    return __atomic_add_fetch(&visitors, 1, __ATOMIC_SEQ_CST) * 2 + 1;
}
