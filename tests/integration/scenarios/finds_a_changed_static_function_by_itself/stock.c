/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function that no patch file could name: where the compiler optimises, it is nowhere but inside its callers.
 */
static int whole(int pieces, int broken)
{
#ifdef FIXED
    return pieces * 3 - broken + 2;
#else
    return pieces * 3 - broken + 1;
#endif
}

int in_stock(int pieces)
{
    return whole(pieces, pieces % 3) * 2;
}

int on_order(int pieces)
{
    return whole(pieces, pieces % 5) + 4;
}
