/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <livepatch.h>

LIVEPATCH_REPLACES(weigh, "weigh", "tells_clashing_static_functions_apart/right.c");

int weigh(int load, int tare)
{
    return load - tare + 2;
}
