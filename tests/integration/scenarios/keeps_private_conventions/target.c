/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Callers that keep values over calls of functions that they see. They stay as they are.
 */
#define SCOPE static
#include "conventions.h"

static unsigned count;
int answer = 4711;

/* Sums whose parts are computed before a call and used after it. */
OUTSIDE int integers(int x)
{
    int a = x * 3, b = x ^ 0x55, c = x + 1000, d = x - 7, e = x * x;
    signed char low[2] = {(signed char)x, (signed char)(x + 1)};
    int total = one(a) * 31 + a;
    total = one(total ^ b) * 31 + total + b;
    total = three(total, low, (unsigned)c) * 31 + total + c * 5;
    total = three(total, low, (unsigned)a) * 31 + total + a;
    total = five(total, a, b, c, d) * 31 + total + e;
    total = five(e, total, d, b, a) * 31 + total - d;
    total = nine(a, b, c, d, e, total, x, a, b) * 31 + total + c;
    total = nine(x, total, a, b, c, d, e, x, d) * 31 + total + e;
    total = narrow((signed char)total, (short)a, (unsigned char)b) * 31 + total + a;
    total = narrow((signed char)x, (short)total, (unsigned char)d) * 31 + total + d;
    total = none() * 31 + total + b;
    store(total, &total);
    store(total ^ a, &total);
    return total + a + b + c + d + e;
}

OUTSIDE int longs(int x)
{
#ifndef WITHOUT_WIDE
    long long a = x * 70000LL, b = a * a, c = a ^ b;
    long long total = wide(a, x) * 3 + a;
    total = wide(total, x + 1) * 3 + b + total;
    total = wider(x, total, x + 2) * 3 + c + total;
    total = wider(x + 3, a, x + 4) * 3 + total + a;
    return (int)(total ^ total >> 32) + (int)(a + b + c);
#else
    return x;
#endif
}

OUTSIDE int reals(int x)
{
#ifndef WITHOUT_FLOATS
    double a = x * 1.5, b = a + 3, c = b * a;
    float d = (float)x / 4;
    double total = real(a, d, x) + a;
    total = real(total, d + 1, x + 1) + b + total;
    total += (double)rounded(x, d) + c + a;
    total += (double)rounded(x + 1, d + 2) * c + b;
    return (int)(total + a * 16 + b * 8 + c);
#else
    return x;
#endif
}

OUTSIDE int records(int x)
{
#ifdef __x86_64__
    struct both a = {x, x * 3}, b = {x + 4, x - 9};
    long total = sum(a, x) * 3 + a.first;
    return (int)(sum(b, total) * 5 + total + b.second + a.second);
#else
    return x;
#endif
}

int work(int x)
{
    count++;
    return integers(x) ^ longs(x + 1) ^ reals(x & 255) ^ records(x);
}

int rest(int x) { return one(x) + five(x, 1, 2, 3, x); }
unsigned times(void) { return count; }
