/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A thread with AMX tile registers in use, waiting for lines; "none" where this machine has no AMX.
 *
 *   any line     is answered with what the tile holds: "kept", or "lost"
 */
#define _GNU_SOURCE
#include "protocol.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint8_t rows[16][64], found[16][64];

int main(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } configuration = {.palette = 1, .columns = {64}, .rows = {16}};
    if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18)) {
        say("none");
        return 0;
    }
    for (int i = 0; i < 16; i++)
        memset(rows[i], 0x50 + i, 64);
    __asm__ volatile("ldtilecfg %0\n\ttileloadd (%1,%2,1), %%tmm0"
                     :
                     : "m"(configuration), "r"(rows), "r"(64l)
                     : "memory");
    say("ready");
    for (;;) {
        hear();
        memset(found, 0, sizeof found);
        __asm__ volatile("tilestored %%tmm0, (%0,%1,1)" : : "r"(found), "r"(64l) : "memory");
        say(memcmp(rows, found, sizeof rows) ? "lost" : "kept");
    }
}
