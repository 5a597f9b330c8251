/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A hundred functions, of which the fix changes the first FIXED.
 */
#ifndef FIXED
#define FIXED 0
#endif

extern int scale;

#define FUNCTION(n)                                                          \
    __attribute__((noinline)) int many_##n(int x)                            \
    {                                                                        \
        return (1##n - 100 < FIXED) ? x * scale + 1##n : x * scale - 1##n;   \
    }
#define TEN(n)                                                               \
    FUNCTION(n##0) FUNCTION(n##1) FUNCTION(n##2) FUNCTION(n##3) FUNCTION(n##4) \
    FUNCTION(n##5) FUNCTION(n##6) FUNCTION(n##7) FUNCTION(n##8) FUNCTION(n##9)

TEN(0) TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9)
