/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The variable that the changed function goes on using has no name in the target.
 */
static unsigned parcels;

unsigned parcel(void)
{
    unsigned number = __atomic_add_fetch(&parcels, 1, __ATOMIC_SEQ_CST);
#ifdef FIXED
    return number * 2 + 1;
#else
    return number * 2;
#endif
}
