/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Functions that take long: their threads are nearly always inside of one. Results come back in every
 * register that has any: a word, two words, a floating-point number.
 */
#include "slow.h"

#ifdef FIXED
#define WHICH 2
#else
#define WHICH 1
#endif

int slow_int(int number, int depth)
{
    if (depth > 0) {
        int result = slow_int(number, depth - 1);
        __asm__ volatile("" : "+r"(result)); /* no tail call */
        return result;
    }
    pass_time();
    return 10 * number + WHICH;
}

struct two slow_two(int number)
{
    pass_time();
    return (struct two){10 * number + WHICH, ~(10 * number + WHICH)};
}

long long slow_long(int number)
{
    pass_time();
    return ((long long)~number << 32 | number * 10) + WHICH;
}

double slow_real(int number)
{
    pass_time();
    return number * 10 + WHICH + 0.5;
}
