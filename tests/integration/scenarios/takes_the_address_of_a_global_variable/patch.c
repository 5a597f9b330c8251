/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

extern struct account {
    int number, balance;
} accounts[4];

int *account(int which)
{
    return &accounts[which].balance;
}
