/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Fill every register of the CPU, sit in a loop that touches none of them, and write them down again.
 * Offsets are known to registers.S.
 */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stddef.h>
#include <stdint.h>

enum vectors { SSE, AVX, AVX512 };

struct registers {
    uint64_t general[16];  /* in the order that registers.S gives; i386 uses the low halves of seven */
    uint64_t below[16];    /* x86_64: the red zone, the 128 bytes below the stack pointer */
    double x87[8];         /* the whole register stack */
    uint64_t masks[8];     /* k0..k7 */
    uint64_t flags;        /* after the loop */
    uint8_t vector[32][64];
};

_Static_assert(offsetof(struct registers, below) == 128, "registers.S");
_Static_assert(offsetof(struct registers, x87) == 256, "registers.S");
_Static_assert(offsetof(struct registers, masks) == 320, "registers.S");
_Static_assert(offsetof(struct registers, flags) == 384, "registers.S");
_Static_assert(offsetof(struct registers, vector) == 392, "registers.S");

/* Load `in`, go round `rounds` times, store into `out`. */
void hold_registers(const struct registers *in, struct registers *out, long rounds, enum vectors vectors);

#endif
