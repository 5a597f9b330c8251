/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * remote_frame [tiles]: show the signal frame that the kernel writes, as two words: its address and its bytes
 * in hexadecimal, from the return address to the end of the floating-point state.
 *
 * tiles: with AMX tile registers in use, or "none" where this machine has none.
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define MAGIC1 0x46505853u

static void show(int number, siginfo_t *info, void *argument)
{
    ucontext_t *context = argument;
    unsigned char *state = (unsigned char *)context->uc_mcontext.fpregs;
#ifdef __x86_64__
    unsigned char *start = (unsigned char *)context - 8, *area = state;
    (void)info;
#else
    unsigned char *start = (unsigned char *)info - 16, *area = state + 112;
#endif
    (void)number;
    uint32_t sizes[5]; /* struct _fpx_sw_bytes */
    memcpy(sizes, area + 464, sizeof sizes);
    unsigned char *end = area + (sizes[0] == MAGIC1 ? sizes[4] + 4 : 512);
    printf("%lx ", (unsigned long)start);
    for (unsigned char *at = start; at < end; at++)
        printf("%02x", *at);
    putchar('\n');
    fflush(stdout);
}

#ifdef __x86_64__
static int use_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } configuration = {.palette = 1, .columns = {64}, .rows = {16}};
    uint8_t rows[16][64];
    if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18))
        return 0;
    for (int i = 0; i < 16; i++)
        memset(rows[i], 0x50 + i, 64);
    __asm__ volatile("ldtilecfg %0\n\ttileloadd (%1,%2,1), %%tmm0"
                     :
                     : "m"(configuration), "r"(rows), "r"(64l)
                     : "memory");
    return 1;
}
#else
static int use_tiles(void)
{
    return 0;
}
#endif

int main(int count, char **words)
{
    (void)words;
    struct sigaction action = {.sa_sigaction = show, .sa_flags = SA_SIGINFO};
    CHECK(!sigaction(SIGUSR1, &action, NULL));
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGRTMIN + 5);
    CHECK(!sigprocmask(SIG_BLOCK, &blocked, NULL));
    say("ready");
    if (count > 1 && !use_tiles())
        say("none");
    else
        raise(SIGUSR1);
    hear();
}
