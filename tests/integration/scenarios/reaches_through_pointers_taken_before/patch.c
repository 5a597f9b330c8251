/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

int discount(int price)
{
    return price * 3 + 2;
}
