/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The fix is what most fixes are: it looks at a length, and copies as much as there is room.
 */
#include <string.h>

int copies(const char *text, char *to, unsigned long room)
{
#ifdef FIXED
    memset(to, '.', room);
    unsigned long length = strlen(text);
    if (length >= room)
        length = room - 1;
    memcpy(to, text, length);
    to[length] = 0;
#else
    (void)room;
    strcpy(to, text);
#endif
    return to[0];
}
