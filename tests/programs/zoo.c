/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The unit with one of everything that compilers emit and a patch must carry: `work(x)` adds up what each
 * construct makes of x. Every function that is not marked as the same differs once -DFIXED is given.
 */
#include <stdio.h>
#include <stdlib.h>

#ifdef FIXED
enum { FIX = 1 };
#else
enum { FIX = 0 };
#endif

#define ALONE __attribute__((noinline))

int zoo_shared = 5;                            /* exported data */
static int kept;                               /* a static variable that stays */
static const int squares[] = {0, 1, 4, 9, 16, 25, 36, 49, 64, 81};
static const char *const words[] = {"zero", "one", "two", "three"};

ALONE static int same(int x)                   /* the same code in both builds */
{
    return x * 7 + kept;
}

ALONE static int plus(int x) { return x * zoo_shared + 1 + FIX; }
ALONE static int minus(int x) { return x * zoo_shared - 1 - FIX; }
ALONE static int times_three(int x) { return zoo_shared + x * 3 + FIX; }

ALONE static int jump_table(int x)
{
    switch (x % 9) {
    case 0: return plus(x);
    case 1: return minus(x) + FIX;
    case 2: return times_three(x);
    case 3: return same(x);
    case 4: return squares[x % 10] + FIX;
    case 5: return zoo_shared + 3;
    case 6: return (int)words[x % 4][0] - 'a';
    case 7: return kept + 100;
    default: return 40 + FIX;
    }
}

ALONE static int computed_goto(int x)
{
    static const void *const labels[] = {&&even, &&odd, &&end};
    int steps = 0;
    goto *labels[x & 1];
odd:
    x = 3 * x + 1 + FIX;
    goto *labels[(steps++ > 3) ? 2 : x & 1];
even:
    x /= 2;
    goto *labels[(steps++ > 3) ? 2 : x & 1];
end:
    return x;
}

ALONE static int floating(int x)
{
    double scaled = x * 1.7320508 + (FIX ? 0.25 : 0.75);
    float narrow = (float)scaled / 3.1f;
    return (int)(narrow * 100);
}

ALONE static int strings(int x)
{
    char text[64];
    int length = snprintf(text, sizeof text, FIX ? "fixed %d of %s" : "%d of %s", x, words[x & 3]);
    return length + (int)strtol(FIX ? "17" : "11", NULL, 10) + text[0];
}

ALONE static int counted(int x)
{
    static int calls;                          /* one of two statics of this name */
    return ++calls * 0 + x + FIX;
}

ALONE static int counted_too(int x)
{
    static int calls;
    calls += x & 1;
    return calls * 0 + x * 2 + FIX;
}

int zoo_leaf(int x) { return x * zoo_shared * 3 + FIX; }
int (*zoo_pointer)(int) = zoo_leaf;            /* the program keeps a function's address */

ALONE static int pointers(int x)
{
    int (*chosen[])(int) = {zoo_leaf, plus, abs};
    return (zoo_pointer == zoo_leaf) * 1000 + zoo_pointer(x) + chosen[x % 3](x) + FIX;
}

__attribute__((cold)) ALONE static int rarely(int x) { return x * zoo_shared - 9 - FIX; }

ALONE static int unlikely(int x)
{
    if (x % 97 == 96)
        return rarely(x) + rarely(x + 1) * 2;
    return x + FIX;
}

#ifdef FIXED
static int fresh = 11;                         /* data and code that only the patch has */
static int fresh_zeros[100];
ALONE static int only_new(int x)
{
    fresh_zeros[x % 100] = x;
    return fresh + fresh_zeros[x % 100];
}
#else
ALONE static int only_new(int x) { return x * zoo_shared + 2; }
#endif

int work(int x)
{
    unsigned u = (unsigned)x & 0xffff;
    x = (int)u;
    return jump_table(x) + computed_goto(x) + floating(x) + strings(x) + counted(x) + counted_too(x) + pointers(x) +
           unlikely(x) + only_new(x) + FIX;
}

int rest(int x)
{
    kept = x;
    return same(x);
}

unsigned times(void)
{
    return (unsigned)kept;
}
