# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The contract between who builds a patch and who loads it.

===============  ===============================================================
``manifest``     defines what a patch says about itself
``shapes``       what one value of it may be, checked on hosts and put into words
``rules``        what more than one value must keep
``schema``       the same definition as JSON Schema
``strict_json``  JSON that everybody reads alike
``relocatable``  which ELF objects can be an artifact
``file``         reads the whole of it, and believes nothing that it has not checked
``signature``    who signed it; OpenSSH verifies
===============  ===============================================================

``docs/formats.md`` has the format to the byte.
"""
