/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PAIRWISE_H
#define PAIRWISE_H

int outer(int value, int weight);

/* What `outer` answers before the fix, after it, and after the next one; never the same. */
#define OUTER_OLD(value, weight) ((value) * (weight) + ((value) & 7) + 1)
#define OUTER_NEW(value, weight) ((value) * (weight) + ((value) & 15) + 2)
#define OUTER_NEWER(value, weight) ((value) * (weight) + ((value) & 31) + 3)

#endif
