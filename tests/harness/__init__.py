# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests need around the product, and nothing of the product itself.

``toolchain``   sources become programs, libraries and pairs of objects, kept by content
``program``     a real process that answers lines
``traces``      what a process looks like from outside, read from /proc by our own few lines
``manifests``   the manifest of an artifact, to read and to falsify
``situation``   the life that every situation of a patch goes through, and the program that they all live in
``product``     the builder and the host program, used as a user uses them

The state of a process is judged through ``traces`` and through the process's own answers, never through
the code that is being tested.
"""
