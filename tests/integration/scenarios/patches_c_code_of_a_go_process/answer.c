/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
int answer(int x)
{
#ifdef FIXED
    return 3 * x + 2;
#else
    return 3 * x + 1;
#endif
}
