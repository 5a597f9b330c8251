/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "house.h"

extern int serve(int request);

SITUATION(replaces_what_some_thread_is_always_in)

static enum age call(unsigned number)
{
    int request = number;
    return age_of(serve(request), request * 3 + 1, request * 3 + 2);
}
