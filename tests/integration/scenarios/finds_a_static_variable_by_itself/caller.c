/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

extern unsigned parcel(void);

SITUATION(finds_a_static_variable_by_itself)

static unsigned highest;

static enum age call(unsigned number)
{
    return age_of_ticket(parcel, &highest);
}
