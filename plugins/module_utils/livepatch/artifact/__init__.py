# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The contract between who builds a patch and who loads it.

``manifest`` defines what a patch says about itself, ``schema`` writes the same
definition down as JSON Schema, ``file`` reads the whole artifact and believes
nothing that it has not checked.  ``docs/formats.md`` has the format to the byte.
"""
