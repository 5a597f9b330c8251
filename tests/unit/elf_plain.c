/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>

int main(void)
{
    puts("plain");
    return 0;
}
