/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was read is between what the variable was before the call and what it is after it: a copy of it, or its
 * value at any earlier time, is not.
 */
#include "house.h"

extern unsigned rate;
extern unsigned twice_the_rate(void);

SITUATION(reads_a_global_variable)

static enum age call(unsigned number)
{
    unsigned before = __atomic_add_fetch(&rate, 1, __ATOMIC_SEQ_CST);
    unsigned result = twice_the_rate();
    unsigned after = __atomic_load_n(&rate, __ATOMIC_SEQ_CST);
    if (result / 2 < before || result / 2 > after)
        return WRONG;
    return result % 2 ? NEW : OLD;
}
