/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs functions with chance in every call-clobbered register and prints which registers they changed:
 * "NAME REGISTER...". The functions take numbers only, and keep to static memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __x86_64__
#define GENERAL 9
#define VECTORS 16
static const char *const names[] = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"};
#else
#define GENERAL 3
#define VECTORS 8
static const char *const names[] = {"eax", "ecx", "edx"};
#endif

struct registers {
    uintptr_t general[GENERAL];
    unsigned char vectors[VECTORS][16] __attribute__((aligned(16)));
};

void with_registers(void (*function)(void), struct registers *before, struct registers *after);
#ifdef __x86_64__
__asm__(".text\n.type with_registers, @function\nwith_registers:\n"
        "push %rbx\npush %r12\npush %r13\n"
        "mov %rdi, %rbx\nmov %rsi, %r12\nmov %rdx, %r13\n"
        ".set place, 80\n.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "movups place(%r12), %xmm\\n\n.set place, place + 16\n.endr\n"
        "mov (%r12), %rax\nmov 8(%r12), %rcx\nmov 16(%r12), %rdx\nmov 24(%r12), %rsi\nmov 32(%r12), %rdi\n"
        "mov 40(%r12), %r8\nmov 48(%r12), %r9\nmov 56(%r12), %r10\nmov 64(%r12), %r11\n"
        "call *%rbx\n"
        "mov %rax, (%r13)\nmov %rcx, 8(%r13)\nmov %rdx, 16(%r13)\nmov %rsi, 24(%r13)\nmov %rdi, 32(%r13)\n"
        "mov %r8, 40(%r13)\nmov %r9, 48(%r13)\nmov %r10, 56(%r13)\nmov %r11, 64(%r13)\n"
        ".set place, 80\n.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "movups %xmm\\n, place(%r13)\n.set place, place + 16\n.endr\n"
        "pop %r13\npop %r12\npop %rbx\nret\n.size with_registers, .-with_registers");
#else
__asm__(".text\n.type with_registers, @function\nwith_registers:\n"
        "push %ebx\npush %esi\npush %edi\n"
        "mov 16(%esp), %ebx\nmov 20(%esp), %esi\nmov 24(%esp), %edi\n"
        ".set place, 16\n.irp n, 0,1,2,3,4,5,6,7\n"
        "movups place(%esi), %xmm\\n\n.set place, place + 16\n.endr\n"
        "sub $16, %esp\nmov (%esi), %eax\nmov %eax, (%esp)\nmov 4(%esi), %eax\nmov %eax, 4(%esp)\n"
        "mov 8(%esi), %eax\nmov %eax, 8(%esp)\n"
        "mov (%esi), %eax\nmov 4(%esi), %ecx\nmov 8(%esi), %edx\n"
        "call *%ebx\nmov %eax, (%edi)\nmov %ecx, 4(%edi)\nmov %edx, 8(%edi)\nadd $16, %esp\n"
        ".set place, 16\n.irp n, 0,1,2,3,4,5,6,7\n"
        "movups %xmm\\n, place(%edi)\n.set place, place + 16\n.endr\n"
        "pop %edi\npop %esi\npop %ebx\nret\n.size with_registers, .-with_registers");
#endif

#define TRIED __attribute__((noinline))
static unsigned words[64];
static float reals[64];

TRIED int leaf(int a) { return a * 3; }
TRIED unsigned long long wide(unsigned long long a, unsigned b) { return a * b + (a >> (b & 31)); }
TRIED int divided(int a, int b) { return a / (b | 1) + a % ((b & 7) | 1); }
TRIED void filled(int a) { memset(words, a, sizeof words); }
TRIED void copied(int a)
{
    unsigned long left = sizeof words / 2;
    void *from = words, *to = (char *)words + sizeof words / 2;
    __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(left)::"memory");
    words[1] = (unsigned)a;
}
TRIED unsigned vectors(unsigned a)
{
    for (int i = 0; i < 64; i++)
        words[i] = words[i] * a + 7;
    return words[3];
}
TRIED float summed(int a)
{
    float sum = 0;
    for (int i = 0; i < 64; i++)
        sum += reals[i] * (float)a;
    return sum;
}
TRIED long double precise(int a) { return (long double)a / 3; }
TRIED unsigned exchanged(unsigned a) { return __atomic_exchange_n(&words[2], a, __ATOMIC_SEQ_CST); }
TRIED unsigned added(unsigned a) { return __atomic_fetch_add(&words[2], a, __ATOMIC_SEQ_CST); }
TRIED int compared(unsigned a, unsigned b)
{
    return __atomic_compare_exchange_n(&words[2], &a, b, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
TRIED unsigned identified(void)
{
    unsigned a = 0, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return b;
}
TRIED unsigned long long clock(void) { return __builtin_ia32_rdtsc(); }
TRIED int turned(int a, int b) { return (a << (b & 31)) ^ __builtin_bswap32((unsigned)a); }
TRIED int counted(int a)
{
    int count = 0;
    while (a) {
        count += a & 1;
        a = (int)((unsigned)a >> 1);
    }
    return count;
}
TRIED int chosen(int a)
{
    switch (a & 7) {
    case 0: return leaf(a) + 1;
    case 1: return turned(a, 3) - 1;
    case 2: return counted(a) * 9;
    case 3: return divided(a, 5) ^ 8;
    case 4: return (int)vectors((unsigned)a) | 4;
    default: return a;
    }
}
TRIED int nested(int a) { return leaf(a) + counted(a) * turned(a, 1); }

#define EACH(do)                                                                                                   \
    do(leaf) do(wide) do(divided) do(filled) do(copied) do(vectors) do(summed) do(precise) do(exchanged) do(added)  \
    do(compared) do(identified) do(clock) do(turned) do(counted) do(chosen) do(nested)

static uint64_t chance = 88172645463325252ull;

static unsigned char random_byte(void)
{
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    return (unsigned char)(chance >> 24);
}

static void tried(const char *name, void (*function)(void))
{
    unsigned general = 0, vectors = 0;
    for (int run = 0; run < 64; run++) {
        struct registers before, after;
        for (unsigned i = 0; i < sizeof before; i++)
            ((unsigned char *)&before)[i] = random_byte();
        with_registers(function, &before, &after);
#ifdef __x86_64__
        __asm__ volatile("fninit");
#else
        __asm__ volatile("fninit");
#endif
        for (int i = 0; i < GENERAL; i++)
            general |= (unsigned)(before.general[i] != after.general[i]) << i;
        for (int i = 0; i < VECTORS; i++)
            vectors |= (unsigned)!!memcmp(before.vectors[i], after.vectors[i], 16) << i;
    }
    printf("%s", name);
    for (int i = 0; i < GENERAL; i++)
        if (general >> i & 1)
            printf(" %s", names[i]);
    for (int i = 0; i < VECTORS; i++)
        if (vectors >> i & 1)
            printf(" xmm%d", i);
    printf("\n");
}

int main(void)
{
#define TRY(name) tried(#name, (void (*)(void))name);
    EACH(TRY)
    return 0;
}
