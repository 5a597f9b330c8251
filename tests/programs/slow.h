/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
struct two {
    long first, second;
};
extern int slow_int(int number, int depth);
extern struct two slow_two(int number);
extern long long slow_long(int number);
extern double slow_real(int number);

/* What the caller wants to be done meanwhile. */
extern void pass_time(void);
