/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   loads LIBRARY
 *
 *   work X   what the library makes of it
 *   close    the library goes
 *   open     it comes again
 */
#include "protocol.h"

#include <dlfcn.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    (void)argc;
    int (*work)(int) = NULL;
    void *library = dlopen(argv[1], RTLD_NOW);
    CHECK(library);
    say("ready");
    for (;;) {
        const char *line = hear(), *rest;
        if ((rest = after(line, "work"))) {
            *(void **)&work = dlsym(library, "work");
            CHECK(work);
            say("%d", work(atoi(rest)));
        } else if (after(line, "close")) {
            CHECK(!dlclose(library));
            say("closed");
        } else if (after(line, "open")) {
            library = dlopen(argv[1], RTLD_NOW);
            CHECK(library);
            say("opened");
        }
    }
}
