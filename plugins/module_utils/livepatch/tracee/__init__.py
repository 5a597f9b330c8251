# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A process that we hold: stop and go, calls made in its name, stacks."""
