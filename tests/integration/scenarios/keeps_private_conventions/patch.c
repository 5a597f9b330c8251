/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#define FIXED
#define SCOPE
#include "conventions.h"
