/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors */
/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The total of an order in cents; what is wrong with the order, or NULL. */
const char *order_total(long quantity, long price, long *total);
