/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * 512 coroutines of ucontext(3) with stacks of 2.5 KB, one beside the other, a canary below each: a signal
 * frame of 3 KB on any of them destroys its neighbour.
 */
#include "coroutines.h"

#include <ucontext.h>

static ucontext_t scheduler, contexts[COROUTINES];

static void body(int index)
{
    for (;;) {
        turns[index] += work(index) == 3 * index + 1;
        swapcontext(&contexts[index], &scheduler);
    }
}

static void start(int index)
{
    CHECK(!getcontext(&contexts[index]));
    contexts[index].uc_stack.ss_sp = stacks[index].room;
    contexts[index].uc_stack.ss_size = sizeof stacks[index].room;
    makecontext(&contexts[index], (void (*)(void))body, 1, index);
}

static void go_on(int index)
{
    CHECK(!swapcontext(&scheduler, &contexts[index]));
}

int main(void)
{
    for (int i = 0; i < COROUTINES; i++)
        start(i);
    load(go_on);
    say("ready");
    for (;;)
        if (after(hear(), "load"))
            say("%d coroutines, %d canaries lost", load(go_on), lost());
}
