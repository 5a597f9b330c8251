/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A library (or program) with something of everything that the reader reads: versions, one of them hidden,
 * an indirect function, thread-local storage, weak and local symbols, imports, zeroed data.
 */
#include <stdio.h>
#include <stdlib.h>

_Thread_local int per_thread = 3;
int zeroed[100];
static int hidden_from_all = 5;

int answer_old(void) { return 41; }
int answer_new(void) { return 42; }
__asm__(".symver answer_old,answer@SHAPE_1");
__asm__(".symver answer_new,answer@@SHAPE_2");

static int picked(void) { return hidden_from_all++; }
static int (*pick(void))(void) { return picked; }
int chosen(void) __attribute__((ifunc("pick")));

__attribute__((weak)) int maybe(void) { return per_thread; }

int main(void)
{
    printf("%d %s\n", zeroed[3] + maybe() + answer_new(), getenv("HOME"));
    return 0;
}
