/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hands out the address of a part of a variable.
 */
struct account {
    int number, balance;
} accounts[4] = {{10, 100}, {11, 200}, {12, 300}, {13, 400}};

int *account(int which)
{
    return &accounts[which].number;
}
