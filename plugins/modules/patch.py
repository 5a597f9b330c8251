#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patch
short_description: Replaces functions in running processes without restarting them
version_added: 0.1.0
description:
  - Brings a live patch into running processes (O(state=present)), or takes it out again (O(state=absent)).
  - All threads of a process change at one instant, and only while none of them is inside a function that changes.
  - Everything is checked before anything is touched. A process that can not be patched is
    RV(processes[].status=refused), with a stable word that says why.
  - The patch is in the process and nowhere else. A process that restarts starts without it.
  - The injector, a Python program, is pushed to each host once and kept in C(/var/cache/livepatch) (of users other than
    root, C(~/.cache/livepatch)), with the artifacts. This happens in check mode, too; it is a cache and safe to delete.
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
      - What only a stop can show, a busy process first, is listed as C(unproven) with each process.
  diff_mode:
    support: full
    details:
      - Shows, per process, which function goes from which code to which, by name and artifact.
options:
  state:
    description: Whether the patch is in the processes, or not.
    type: str
    choices: [present, absent]
    default: present
  consistency:
    description:
      - With V(strict) all threads change at one instant, and none of them is inside a replaced function.
      - With V(entry) calls under way finish in the old code.
    type: str
    choices: [strict, entry]
    default: strict
  coroutines:
    description:
      - Whether memory is searched for suspended coroutines that are inside a replaced function, in the stop.
      - With V(auto), where the process shows a sign of coroutines. V(search) does so always, for programs with a switch
        of their own. With V(ignore) a coroutine may go on in the middle of code that has changed, which only the
        one who knows the program can rule out.
    type: str
    choices: [auto, search, ignore]
    default: auto
  patience:
    description: How long to wait for a safe point, in seconds, all attempts together.
    type: float
    default: 10
  attempts:
    description: How often to look for a safe point.
    type: int
    default: 50
  stop_ms:
    description: >-
      The longest stop of a process, in milliseconds. After that it runs on, and another attempt is made.
      It is also the longest that a thread which has left a replaced function is kept outside while others are awaited.
    type: int
    default: 50
  on_busy:
    description: Whether a process that has no safe point in time is a failure, or skipped.
    type: str
    choices: [fail, skip]
    default: fail
  all_or_nothing:
    description:
      - Check every selected process of the host before any is patched, and if one fails all the same, put the
        others back.
    type: bool
    default: true
  replace:
    description:
      - The artifact takes the place of those that it supersedes, in the same stop. Without it, such an artifact goes on
        top of them, or is refused where it is another version of the same patch.
    type: bool
    default: false
  expected_plan:
    description:
      - A plan that an earlier run in check mode returned (RV(plan)), or its hash (RV(plan_sha256)). What has drifted
        since is refused.
    type: raw
  comment:
    description: Goes into the ledger in the process, for whoever asks later why.
    type: str
    default: ""
seealso:
  - module: userspace.livepatch.patch_info
author:
  - userspace.livepatch contributors (@userspace-livepatch)
"""

EXAMPLES = r"""
- name: See what would happen, process by process
  userspace.livepatch.patch:
    artifact: nginx-cve-2026-27654.lp.o
  check_mode: true
  diff: true
  become: true
  register: dry_run

- name: Patch every process that runs this nginx, in every container of the host
  userspace.livepatch.patch:
    artifact: nginx-cve-2026-27654.lp.o
    trusted_keys: keys/release-managers
    expected_plan: "{{ dry_run.plan_sha256 }}"
    comment: "change {{ change_number }}"
  become: true

- name: Each host gets the patches for the builds and the architectures that it runs
  userspace.livepatch.patch:
    artifacts: patches/
    patience: 30
  become: true

- name: Patch the workers of one unit; a busy one can wait for the next run
  userspace.livepatch.patch:
    artifact: redis-set-selector.lp.o
    processes:
      unit: redis-server.service
    on_busy: skip
  become: true

- name: Take a patch out again
  userspace.livepatch.patch:
    artifact: nginx-cve-2026-27654.lp.o
    state: absent
  become: true
"""

RETURN = r"""
msg:
  description: What happened, in a sentence.
  returned: always
  type: str
  sample: 14 applied
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
  sample: {applied: 14, refused: 1}
exit_code:
  description: The injector's; 0, or that of the worst status.
  returned: always
  type: int
  sample: 0
processes:
  description:
    - Each process that was looked at. Long lists are cut, those that are not well first; RV(details_path) has all.
  returned: always
  type: list
  elements: dict
  contains:
    pid:
      description: Process ID.
      type: int
    start_time:
      description: When it started, in clock ticks after boot. With the PID and the boot this is the process's identity.
      type: int
    exe:
      description: Path of its executable.
      type: str
    unit:
      description: Its systemd unit.
      type: str
    container:
      description: Its container's ID.
      type: str
    arch:
      description: V(x86_64) or V(i386).
      type: str
    artifact:
      description: The patch, by name and version.
      type: str
    status:
      description:
        - One of V(applied), V(reverted), V(recovered), V(already), V(absent), V(planned), V(gone), V(skipped)
          (all well), V(refused) (looked, did not touch), V(busy) (no safe point in time), V(rolled_back) (as before),
          V(interrupted) (an earlier act was cut off, the next run recovers it), V(stranded) (a person must look).
      type: str
    reason:
      description: A stable word for the status, for playbooks.
      type: str
    message:
      description: What it means, and what to do.
      type: str
    functions:
      description: The functions that change.
      type: list
      elements: str
    stop_us:
      description: How long the process was stopped, in microseconds.
      type: int
    attempts:
      description: How often a safe point was looked for.
      type: int
    threads:
      description: Number of threads.
      type: int
    unproven:
      description: What only a stop can show (check mode).
      type: list
      elements: str
  sample:
    - pid: 4711
      start_time: 91287
      exe: /usr/sbin/nginx
      unit: nginx.service
      container: null
      arch: x86_64
      artifact: nginx-cve-2026-27654 1.0.2
      status: applied
      reason: null
      message: ""
      functions: [ngx_http_dav_copy_move_handler]
      stop_us: 212
      attempts: 1
      threads: 1
      unproven: []
artifact:
  description: The patch, where there is one.
  returned: when one artifact was given
  type: dict
  contains:
    id:
      description: SHA-256 of the file.
      type: str
    name:
      description: Its name.
      type: str
    version:
      description: Its version.
      type: str
    target:
      description: What it is for, with C(name), C(build_id) and C(text_sha256), the digest of its code.
      type: dict
    arch:
      description: V(x86_64) or V(i386).
      type: str
    functions:
      description: The functions that it replaces.
      type: list
      elements: str
    cve:
      description: What it fixes.
      type: list
      elements: str
    copies:
      description: Functions that go on running old code, which the patch's author has accepted.
      type: list
      elements: str
artifacts:
  description: All patches of the task, each as in RV(artifact).
  returned: always
  type: list
  elements: dict
plan:
  description: What would be done, by groups of processes that are alike; for O(expected_plan).
  returned: when one artifact was given
  type: dict
plans:
  description: The plan of each artifact.
  returned: always
  type: list
  elements: dict
plan_sha256:
  description: The identity of the plans, all together.
  returned: when there is a plan
  type: str
unseen:
  description: Number of processes that may not be looked at without becoming root.
  returned: always
  type: int
  sample: 0
unjournaled:
  description: Number of lines that the host's syslog or journald did not take, although it is there.
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

JOB_PARAMETERS = {
    "processes": injector.PROCESSES,
    "consistency": {"type": "str", "choices": ["strict", "entry"], "default": "strict"},
    "coroutines": {"type": "str", "choices": ["auto", "search", "ignore"], "default": "auto"},
    "patience": {"type": "float", "default": 10},
    "attempts": {"type": "int", "default": 50},
    "stop_ms": {"type": "int", "default": 50},
    "on_busy": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
    "all_or_nothing": {"type": "bool", "default": True},
    "replace": {"type": "bool", "default": False},
    "expected_plan": {"type": "raw"},
    "trusted_keys": injector.TRUSTED_KEYS,
    "comment": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **injector.ARTIFACTS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **JOB_PARAMETERS,
        },
        required_one_of=[["artifact", "artifacts"]],
        mutually_exclusive=[["artifact", "artifacts"]],
        supports_check_mode=True,
    )
    direction = "apply" if module.params["state"] == "present" else "revert"
    injector.serve(
        module,
        {
            "command": "check" if module.check_mode else direction,
            "direction": direction,
            "parameters": {name: module.params[name] for name in JOB_PARAMETERS},
        },
    )


if __name__ == "__main__":
    main()
