# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of this collection have in common, for their documentation."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the processes.
  diff_mode:
    description: Will return details on what has changed (or would change, in C(check_mode)), when in diff mode.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
  action_group:
    description: Use C(group/userspace.livepatch.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - userspace.livepatch.all
  async:
    description: Supports being used with the C(async) keyword.
    support: none
"""

    # Which processes, and which artifacts: `patch` and `patch_info` ask alike.
    SELECTION = r"""
options:
  artifact:
    description:
      - The patch, a file C(NAME.lp.o) on the controller, looked for where M(ansible.builtin.copy) looks.
      - It is checked on the controller, and pushed to each host once, by content.
    type: path
  artifacts:
    description:
      - Several patches, or folders that hold patches. Each host gets those whose target build IDs and architecture
        it runs.
    type: list
    elements: path
  remote_src:
    description: The files named by O(artifact) or O(artifacts) are on the managed host already.
    type: bool
    default: false
  trusted_keys:
    description:
      - A file on the controller with allowed signers, in the format that C(ssh-keygen) describes under ALLOWED SIGNERS.
        An artifact goes into a process only if one of them signed it (C(livepatch sign), or
        C(ssh-keygen -Y sign -n livepatch)); its signature lies beside it, C(NAME.lp.o.sig).
      - Verified on the controller and once more on the host, by OpenSSH 8.2 or later; without that everything is
        refused with the reason C(no_verifier).
      - Where the host has a list of its own, C(/etc/livepatch/allowed_signers), that must allow the signer as well,
        with and without this option.
      - Taking a patch out needs no signature.
    type: str
  processes:
    description:
      - Which processes. Given keys are combined with AND; of a list, one must match.
      - Empty, every process that maps the artifact's target, in any mount namespace.
    type: dict
    default: {}
    suboptions:
      pid:
        description: Process IDs, as the managed host counts them.
        type: list
        elements: int
      exe:
        description: Path of the executable, or a glob.
        type: str
      name:
        description: Name of the process, as C(/proc/PID/comm) has it.
        type: str
      cmdline:
        description: A regular expression that is found in the command line, its words joined by spaces.
        type: str
      user:
        description: Name or number of the user that the process runs as.
        type: str
      unit:
        description: The systemd unit.
        type: str
      cgroup:
        description: Path of the control group, or a glob.
        type: str
      container:
        description: ID of the container, or its beginning.
        type: str
      hostname:
        description: Host name of its UTS namespace, which in Kubernetes is the name of the pod.
        type: str
"""
