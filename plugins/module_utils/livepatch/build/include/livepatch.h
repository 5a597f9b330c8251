/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For a patch of one file: what its names mean in the target.  The builder finds this header by itself.
 *
 * Without any of these, a function that the file defines takes the place of the target's function of that
 * name, and what it declares extern is the target's: what the target exports first, then what only one of its
 * source files has.  Static functions and variables of the file are its own.
 *
 * Each stands outside of functions, with a semicolon behind it.  Source files are named as in "a.c" or
 * "src/a.c": as much of the path as makes it unique.  Names are those of the linker: in C++, declare what the
 * macros name extern "C".
 */
#ifndef LIVEPATCH_H
#define LIVEPATCH_H

/* Names that the target does not export are those of this source file.  Once in a patch file. */
#define LIVEPATCH_FILE(source) LIVEPATCH_RECORD_("file", "\"\"", "\"\"", LIVEPATCH_QUOTED_(source))

/* The extern `alias` of the patch is the function or variable `name` of the source file ("": of any).
 * A static variable inside of a function is meant by its name in the source if only one is called so,
 * else by its symbol, as nm(1) shows it:  LIVEPATCH_BIND(counter, "times.1", "a.c"); */
#define LIVEPATCH_BIND(alias, name, source) \
    LIVEPATCH_RECORD_("bind", LIVEPATCH_SYMBOL_(alias), LIVEPATCH_QUOTED_(name), LIVEPATCH_QUOTED_(source))

/* The function of the patch takes the place of the function `name` of the source file ("": of any). */
#define LIVEPATCH_REPLACES(function, name, source) \
    LIVEPATCH_RECORD_("replaces", LIVEPATCH_SYMBOL_(function), LIVEPATCH_QUOTED_(name), LIVEPATCH_QUOTED_(source))

/* A record is six strings for the builder in a section that takes no memory; nothing of it reaches the patch. */
#define LIVEPATCH_TEXT_(text) #text
#define LIVEPATCH_QUOTED_(text) LIVEPATCH_TEXT_(text)
#define LIVEPATCH_SYMBOL_(name) "\"" LIVEPATCH_QUOTED_(name) "\""
#define LIVEPATCH_RECORD_(kind, name, target, source)        \
    __asm__(".pushsection .livepatch.names,\"\",@progbits\n"  \
            "\t.asciz \"" kind "\"\n"                        \
            "\t.asciz " LIVEPATCH_QUOTED_(__FILE__) "\n"     \
            "\t.asciz \"" LIVEPATCH_QUOTED_(__LINE__) "\"\n" \
            "\t.asciz " name "\n"                            \
            "\t.asciz " target "\n"                          \
            "\t.asciz " source "\n"                          \
            "\t.popsection\n")

#endif
