/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function that gives way to others while it is under way.
 */
extern void pause_inside(void);

int pausing(int x)
{
    pause_inside();
#ifdef FIXED
    return 3 * x + 2;
#else
    return 3 * x + 1;
#endif
}
