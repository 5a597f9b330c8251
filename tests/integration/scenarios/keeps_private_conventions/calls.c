/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The target as it stands; with -DNEW_WORK as it should become; with -DPATCH the patch, whose `work` calls static
 * functions of the target, and they stay.
 */
#ifdef PATCH
struct both {
    long first, second;
};
int none(void), one(int), three(int, const signed char *, unsigned), five(int, int, int, int, int);
int nine(int, int, int, int, int, int, int, int, int), narrow(signed char, short, unsigned char);
void store(int, int *);
long long wide(long long, int), wider(int, long long, int);
double real(double, float, int);
float rounded(int, float);
long sum(struct both, long);
#else
#define SCOPE static
#include "conventions.h"
int answer = 4711;
unsigned times(void) { return 0; }
#endif

int work(int x);
int rest(int x);

#if defined(NEW_WORK) || defined(PATCH)
#define MIX(total, more) ((total) * 31 ^ (int)(more))
#define FACTOR 3
int work(int x)
#else
#define MIX(total, more) ((total) + (int)(more))
#define FACTOR 2
int work(int x)
#endif
{
    signed char low[2] = {(signed char)x, (signed char)(x - 1)};
    int y = x * FACTOR, total = none();
    total = MIX(total, one(y));
    total = MIX(total, three(total, low, (unsigned)y));
    total = MIX(total, five(x, y, total, x + 1, y + 1));
    total = MIX(total, nine(x, y, total, x + 1, y + 1, 6 - x, y ^ 9, x - y, 9 - y));
    total = MIX(total, narrow((signed char)y, (short)total, (unsigned char)x));
    store(y, &total);
#ifndef WITHOUT_WIDE
    total = MIX(total, wide(total * 70000LL, y));
    total = MIX(total, wider(y, total * 70000LL, x));
#endif
#ifndef WITHOUT_FLOATS
    total = MIX(total, real(y * 1.5, (float)x / 4, y & 15));
    total = MIX(total, rounded(y & 255, (float)x / 4));
#endif
#ifdef __x86_64__
    struct both pair = {x, y};
    total = MIX(total, sum(pair, total));
#endif
    return total;
}

#ifndef PATCH
/* Calls all of them with other arguments, so that no function is made for those of `work`. */
int rest(int x)
{
    signed char low[2] = {3, (signed char)x};
    int total = none() + one(x) + three(x, low, 5) + five(5, x, 4, x, 1) + nine(x, 1, 2, x, 4, x, 6, x, 8) + narrow(1, 2, low[1]);
    store(total, &total);
#ifndef WITHOUT_WIDE
    total += (int)(wide(x * 7LL, x) ^ wider(3, x * 9LL, x));
#endif
#ifndef WITHOUT_FLOATS
    total += (int)(real(x / 4., (float)x, 3) + (double)rounded(x, 2));
#endif
#ifdef __x86_64__
    struct both pair = {7, x};
    total += (int)sum(pair, x);
#endif
    return total;
}
#endif
