/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One situation in the house (house.c): code that a patch changes, and a caller that knows both its ages.
 */
#ifndef HOUSE_H
#define HOUSE_H

#include <stddef.h>

enum age { OLD, NEW, WRONG, AGES };

struct situation {
    const char *name;
    enum age (*call)(unsigned number); /* from any thread and any signal handler, with a number of its own */
    struct situation *next;
};

void move_in(struct situation *situation);

/* In a scenario's caller.c, the function `call`: the situation has the name of the folder. */
#define SITUATION(folder)                                                                              \
    static enum age call(unsigned number);                                                             \
    static struct situation situation = {#folder, call, NULL};                                         \
    __attribute__((constructor)) static void move_in_here(void)                                        \
    {                                                                                                  \
        move_in(&situation);                                                                           \
    }

/* Which code a result came from, where old and new code differ in nothing else. */
static inline enum age age_of(long result, long old, long new)
{
    return result == old ? OLD : result == new ? NEW : WRONG;
}

/* Of a function that hands out twice a number that only grows, and one more once it is new: which code it was.
 *
 * :param highest: the caller's, of the numbers that it saw; what comes from a call that began later is above it
 */
static inline enum age age_of_ticket(unsigned (*ticket)(void), unsigned *highest)
{
    unsigned before = __atomic_load_n(highest, __ATOMIC_SEQ_CST), result = ticket(), seen = before;
    if (result / 2 <= before)
        return WRONG;
    while (seen < result / 2 && !__atomic_compare_exchange_n(highest, &seen, result / 2, 0, __ATOMIC_SEQ_CST,
                                                             __ATOMIC_SEQ_CST))
        ;
    return result % 2 ? NEW : OLD;
}

#endif
