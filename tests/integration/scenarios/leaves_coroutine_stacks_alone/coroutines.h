/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stacks of 2.5 KB with canaries between them, and a round through all coroutines.
 */
#include "protocol.h"

#include <stdint.h>

#define COROUTINES 512
#define CANARY UINT32_C(0xca4a41e5)

static struct {
    uint32_t canaries[16]; /* below the stack, where a frame too long would go */
    _Alignas(16) char room[2560];
} stacks[COROUTINES];

static unsigned turns[COROUTINES];

extern int work(int);

/* Let every coroutine have three turns; how many did its work each time. */
static int load(void (*go_on)(int))
{
    int good = 0;
    for (int i = 0; i < COROUTINES; i++) {
        if (!stacks[i].canaries[0])
            for (int j = 0; j < 16; j++)
                stacks[i].canaries[j] = CANARY;
        unsigned before = turns[i];
        for (int turn = 0; turn < 3; turn++)
            go_on(i);
        good += turns[i] - before == 3;
    }
    return good;
}

static int lost(void)
{
    int count = 0;
    for (int i = 0; i < COROUTINES; i++)
        for (int j = 0; j < 16; j++)
            count += stacks[i].canaries[j] != CANARY;
    return count;
}
