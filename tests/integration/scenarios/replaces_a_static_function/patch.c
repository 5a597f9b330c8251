/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

int tax(int price, int percent)
{
    return price * percent + 2;
}
