/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The right one changes; the left one, of the same name, never does.
 */
#include "house.h"

extern int weigh_left(int load), weigh_right(int load);

SITUATION(tells_clashing_static_functions_apart)

static enum age call(unsigned number)
{
    int load = number, net = load - load % 5;
    if (weigh_left(load) != (net + 7) * 2)
        return WRONG;
    return age_of(weigh_right(load), (net + 1) * 2, (net + 2) * 2);
}
