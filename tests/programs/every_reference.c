// SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
// SPDX-License-Identifier: GPL-3.0-or-later
/* One of every kind of reference that a compiler makes: the relocation oracle links it with us and with ld. */

#include <stddef.h>

extern int imported_function(int);
extern int imported_object;
extern int imported_array[8];
extern int maybe_missing(int) __attribute__((weak));
extern int hidden_object __attribute__((visibility("hidden")));

struct operation {
    const char *name;
    int (*run)(int);
    const int *limit;
};

static int counter;
int shared_counter = 7;
static const int limits[] = {1, 2, 3, 4};
static int table[4] = {10, 20, 30, 40};
static int *const last = &table[3];
#ifdef WITH_COMMON
int common_block[3];
#endif

__attribute__((noinline)) static int twice(int x) { return x + x + counter; }
__attribute__((noinline)) int global_twice(int x) { return 2 * x + shared_counter; }

const struct operation operations[] = {
    {"twice", twice, &limits[1]},
    {"global", global_twice, limits + 3},
    {"imported", imported_function, NULL},
};

double scale(double x) { return x * 1.5 + 0.25; }

int choose(int which, int x) {
    switch (which) {
    case 0: return twice(x);
    case 1: return global_twice(x) + imported_array[3];
    case 2: return imported_function(x) * 3;
    case 3: return imported_object + hidden_object;
    case 4: return operations[x & 1].run(x) + operations[2].name[1];
    case 5: return limits[x & 3] + *last;
    case 6: return maybe_missing ? maybe_missing(x) : -1;
    case 7: return table[x & 3]++ + counter++;
#ifdef WITH_COMMON
    case 8: return common_block[x & 1];
#endif
    default: return (int)scale(x);
    }
}

int (*address_of_imported(void))(int) { return imported_function; }
int *address_of_object(void) { return &imported_array[5]; }
int tail(int x) { return imported_function(x + 1); }
