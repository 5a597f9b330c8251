#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_info
short_description: Tells which processes are live-patched, and which could be
version_added: 0.1.0
description:
  - Lists the live patches in running processes, in the order in which they were applied, with when and by whom.
  - With O(artifact) or O(artifacts) it also tells which processes need them, have them, or can not take them, and why;
    with O(trusted_keys), or with the host's own list, that no allowed signer signed it is a reason.
  - It reads only. No process is stopped, and nothing that was interrupted is recovered.
requirements:
  - "Managed host: Linux on x86_64 or i386, Python 3.8 or later, nothing else."
  - "Controller: the Python packages jsonschema and python-ptrace."
extends_documentation_fragment:
  - userspace.livepatch.attributes
  - userspace.livepatch.attributes.selection
attributes:
  check_mode:
    support: full
    details:
      - The module changes nothing.
  diff_mode:
    support: none
options:
  outdated:
    description:
      - Also list processes that still run a file that was replaced on disk.
    type: bool
    default: false
seealso:
  - module: userspace.livepatch.patch
author:
  - userspace.livepatch contributors (@userspace-livepatch)
"""

EXAMPLES = r"""
- name: What is patched on this host?
  userspace.livepatch.patch_info:
  become: true
  register: patched

- name: Which processes need this patch, have it, or can not take it?
  userspace.livepatch.patch_info:
    artifact: nginx-cve-2026-27654.lp.o
  become: true

- name: Which processes still run what an upgrade has replaced?
  userspace.livepatch.patch_info:
    outdated: true
  become: true

- name: Only the processes of one unit
  userspace.livepatch.patch_info:
    processes:
      unit: nginx.service
  become: true
"""

RETURN = r"""
msg:
  description: What was found, in a sentence.
  returned: always
  type: str
status:
  description: Where the whole task was turned down, in which state it leaves the processes; V(refused) is untouched.
  returned: when nothing was done for a reason that concerns all of it
  type: str
reason:
  description: A stable word for that, for playbooks.
  returned: as RV(status)
  type: str
counts:
  description: Number of processes per status.
  returned: always
  type: dict
  sample: {applied: 14}
exit_code:
  description:
    - The injector's; 0, or 6 where an earlier act was interrupted; with artifacts that of the worst status. The task
      does not fail for what it finds, only where it could not look.
  returned: always
  type: int
processes:
  description:
    - Each process that is patched, or that the artifacts are for. Members are those of
      M(userspace.livepatch.patch), and C(patches).
  returned: always
  type: list
  elements: dict
  contains:
    pid:
      description: Process ID.
      type: int
    exe:
      description: Path of its executable.
      type: str
    status:
      description: As with M(userspace.livepatch.patch).
      type: str
    patches:
      description: What is in the process, oldest first, with name, version, state, when, by whom and comment.
      type: list
      elements: dict
    outdated:
      description: Files that it runs and that were replaced or deleted on disk (with O(outdated)).
      type: list
      elements: str
artifact:
  description: The patch, where there is one, as in M(userspace.livepatch.patch).
  returned: when one artifact was given
  type: dict
artifacts:
  description: The patches that were asked for.
  returned: always
  type: list
  elements: dict
plan:
  description: What M(userspace.livepatch.patch) would do, by groups of processes that are alike.
  returned: when one artifact was given
  type: dict
plans:
  description: The plan of each artifact.
  returned: always
  type: list
  elements: dict
plan_sha256:
  description: The identity of the plans, all together.
  returned: when artifacts were given
  type: str
unseen:
  description: Number of processes that may not be looked at without becoming root.
  returned: always
  type: int
  sample: 0
unjournaled:
  description: Number of lines that the host's syslog or journald did not take; a module that only reads writes none.
  returned: always
  type: int
  sample: 0
details_path:
  description: A file on the host that holds the whole report, where it was cut.
  returned: always
  type: str
ansible_facts:
  description: Facts to add to the host.
  returned: always
  type: dict
  contains:
    livepatch:
      description: V(counts) and V(artifacts) (id, name, version) of the last task of this collection.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.userspace.livepatch.plugins.module_utils import injector


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **injector.ARTIFACTS,
            "processes": injector.PROCESSES,
            "trusted_keys": injector.TRUSTED_KEYS,
            "outdated": {"type": "bool", "default": False},
        },
        mutually_exclusive=[["artifact", "artifacts"]],
        supports_check_mode=True,
    )
    asked = ("processes", "trusted_keys", "outdated")
    parameters = {name: module.params[name] for name in asked if module.params[name] not in (None, False)}
    injector.serve(module, {"command": "list", "parameters": parameters})


if __name__ == "__main__":
    main()
