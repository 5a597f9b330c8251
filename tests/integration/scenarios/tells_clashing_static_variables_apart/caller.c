/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The south has been visited far oftener than the north: a number of the other variable would be seen. What is
 * new of the south also reads the north's, by another name.
 */
#include "house.h"

extern unsigned visit_north(void), visit_south(void);

SITUATION(tells_clashing_static_variables_apart)

enum { AHEAD = 1 << 20 };

static unsigned highest_north, highest_south;

__attribute__((constructor)) static void many_came_to_the_south(void)
{
    for (int i = 0; i < AHEAD; i++)
        highest_south = visit_south() / 2;
}

static enum age call(unsigned number)
{
    if (age_of_ticket(visit_north, &highest_north) != OLD || highest_north > AHEAD)
        return WRONG;
    return age_of_ticket(visit_south, &highest_south);
}
