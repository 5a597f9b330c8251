/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Functions of every shape, old and new. The new ones write every register that the psABI lets them write, and
 * store 16 bytes at once where the psABI promises that the stack is aligned.
 */
#define OUTSIDE __attribute__((noinline))

#ifdef __x86_64__
#define NOISE                                                                                                      \
    __asm__ volatile("mov $-77, %%rax\n mov %%rax, %%rcx\n mov %%rax, %%rdx\n mov %%rax, %%rsi\n mov %%rax, %%rdi\n"  \
                     "mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n mov %%rax, %%r11\n"                     \
                     "movq %%rax, %%xmm0\n movq %%rax, %%xmm1\n movq %%rax, %%xmm2\n movq %%rax, %%xmm3\n"           \
                     "movq %%rax, %%xmm4\n movq %%rax, %%xmm5\n movq %%rax, %%xmm6\n movq %%rax, %%xmm7\n"           \
                     "movq %%rax, %%xmm8\n movq %%rax, %%xmm9\n movq %%rax, %%xmm10\n movq %%rax, %%xmm11\n" ::      \
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",    \
                           "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11")
#else
#define NOISE __asm__ volatile("mov $-77, %%eax\n mov %%eax, %%ecx\n mov %%eax, %%edx" ::: "eax", "ecx", "edx")
#endif

#ifdef FIXED
#define CHANGE(value) (spoil(), (value) + 1)
static inline __attribute__((always_inline)) void spoil(void)
{
    char room[16] __attribute__((aligned(16)));
    NOISE;
    __asm__ volatile("movaps %%xmm0, %0" : "=m"(room));
}
#else
#define CHANGE(value) (value)
#endif

extern int answer;

struct both {
    long first, second;
};

SCOPE OUTSIDE int none(void) { return CHANGE(answer * answer); }
SCOPE OUTSIDE int one(int a) { return CHANGE(a * 3 ^ 0x1234567); }
SCOPE OUTSIDE int three(int a, const signed char *b, unsigned c) { return CHANGE(a * 3 + (b ? b[a & 1] : 0) - (int)c); }
SCOPE OUTSIDE int five(int a, int b, int c, int d, int e) { return CHANGE(a * 3 + b * 5 + c * 7 - d * e); }
SCOPE OUTSIDE int nine(int a, int b, int c, int d, int e, int f, int g, int h, int i)
{
    return CHANGE(a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i);
}
#ifndef WITHOUT_WIDE
SCOPE OUTSIDE long long wide(long long a, int b) { return CHANGE(a * 3 + b); }
SCOPE OUTSIDE long long wider(int a, long long b, int c) { return CHANGE(a + b * 3 - c); }
#endif
SCOPE OUTSIDE int narrow(signed char a, short b, unsigned char c) { return CHANGE(a * 5 + b * 7 + c); }
SCOPE OUTSIDE void store(int a, int *b) { *b += CHANGE(a ^ 0x1234567); }
#ifndef WITHOUT_FLOATS
SCOPE OUTSIDE double real(double a, float b, int c) { return CHANGE(a * b + c); }
SCOPE OUTSIDE float rounded(int a, float b) { return CHANGE(b * 2 + a); }
#endif
#ifdef __x86_64__
SCOPE OUTSIDE long sum(struct both a, long b) { return CHANGE(a.first * 3 + a.second * 5 + b); }
#endif
