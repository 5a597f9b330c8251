/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
static __attribute__((noinline)) int weigh(int load, int tare)
{
    return load - tare + 1;
}

int weigh_right(int load)
{
    return weigh(load, load % 5) * 2;
}
