/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

#include <string.h>

extern const char *fee(int amount, int *result);

SITUATION(reads_and_brings_constants)

static enum age call(unsigned number)
{
    int amount = number, result = 0, base = 1000 * (1 + amount % 4);
    const char *kind = fee(amount, &result);
    if (!strcmp(kind, "a quarter"))
        return result == base + amount / 4 ? OLD : WRONG;
    return !strcmp(kind, "an eighth") && result == base + amount / 8 ? NEW : WRONG;
}
