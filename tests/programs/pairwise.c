/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two functions that only make sense together. The fix changes what passes between them: the order of the
 * parameters, and one more of them. Old `outer` with new `inner`, or the other way round, computes nonsense,
 * so a patch that is applied by half is seen in the first result. -DFIXED_AGAIN is one more such fix.
 */
#include "pairwise.h"

#if defined FIXED_AGAIN
static __attribute__((noinline, noclone)) int inner(int bias, int value, int more, int weight)
{
    return value * weight + bias + more;
}

int outer(int value, int weight)
{
    return inner(value & 31, value, 1, weight) + 2;
}
#elif defined FIXED
static __attribute__((noinline, noclone)) int inner(int weight, int bias, int value)
{
    return value * weight + bias;
}

int outer(int value, int weight)
{
    return inner(weight, value & 15, value) + 2;
}
#else
static __attribute__((noinline, noclone)) int inner(int value, int weight)
{
    return value * weight + (value & 7);
}

int outer(int value, int weight)
{
    return inner(value, weight) + 1;
}
#endif
