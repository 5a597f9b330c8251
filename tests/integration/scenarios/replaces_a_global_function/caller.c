/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

extern int shipping(int weight);

SITUATION(replaces_a_global_function)

static enum age call(unsigned number)
{
    int weight = number;
    return age_of(shipping(weight), weight * 3 + 1, weight * 3 + 2);
}
