/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A number is above all that were handed out before: a variable that began anew would be seen.
 */
#include "house.h"

extern unsigned ticket(void);

SITUATION(uses_a_static_variable)

static unsigned highest;

static enum age call(unsigned number)
{
    return age_of_ticket(ticket, &highest);
}
