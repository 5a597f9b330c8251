/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Has each line copied to where there is room for eight bytes (and, luckily, for more): "copied TEXT".
 */
#include "protocol.h"

extern int copies(const char *text, char *to, unsigned long room);

int main(void)
{
    /* As nearly every program does somewhere; the C library for i386 does not call its own. */
    char room[300], *again = malloc(strlen("again") + 1);
    memset(room, 0, sizeof room);
    memcpy(again, "again", strlen("again") + 1);
    say("ready");
    for (;;) {
        copies(hear(), room, 8);
        say("copied %s", room);
    }
}
