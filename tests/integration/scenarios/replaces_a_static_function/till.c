/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Only the file itself can call what is replaced: the compiler knew every caller.
 */
static __attribute__((noinline)) int tax(int price, int percent)
{
    return price * percent + 1;
}

int to_pay(int price)
{
    return price + tax(price, price % 7);
}
