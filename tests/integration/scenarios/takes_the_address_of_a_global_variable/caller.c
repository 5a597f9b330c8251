/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The address is that of the variable which everybody uses, with what it holds.
 */
#include "house.h"

extern struct account {
    int number, balance;
} accounts[4];

extern int *account(int which);

SITUATION(takes_the_address_of_a_global_variable)

static enum age call(unsigned number)
{
    int which = number % 4, *found = account(which);
    if (found == &accounts[which].number && *found == 10 + which)
        return OLD;
    return found == &accounts[which].balance && *found == 100 + 100 * which ? NEW : WRONG;
}
