# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What can go wrong, named for what it leaves behind.

An operator has one question about a failure: what state is the process in?
The class answers it.  ``reason`` is the stable word for playbooks; what each
word means and what to do about it stands in :data:`REASONS`, the one table
from which ``docs/refusals.md`` is generated.
"""

from __future__ import annotations

from typing import Dict, NamedTuple


class Reason(NamedTuple):
    """One stable word: what it means, and what the operator can do."""

    meaning: str
    remedy: str


class UsageError(Exception):
    """The caller's words make no sense; nothing was looked at (exit code 2)."""


class LivepatchError(Exception):
    """Base of all errors that carry a status and a reason.

    :param reason: a key of :data:`REASONS`
    :param what: one sentence with the facts of this case: which process, which
        function, which numbers
    :raises KeyError: ``reason`` is not in the table (a fault of the caller's code)
    """

    status = "failed"

    def __init__(self, reason: str, what: str) -> None:
        self.reason = reason
        self.what = what
        self.remedy = REASONS[reason].remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """What happened, then what to do, for a person."""
        return f"{self.what.rstrip('.')}. {self.remedy}" if self.remedy else self.what


class Refused(LivepatchError):
    """Looked, did not touch."""

    status = "refused"


class Busy(LivepatchError):
    """Untouched; another moment may be better."""

    status = "busy"


class RolledBack(LivepatchError):
    """Began and could not finish; the process is as it was before."""

    status = "rolled_back"


class Stranded(LivepatchError):
    """Began and could neither finish nor undo; a person must look."""

    status = "stranded"


class Interrupted(LivepatchError):
    """Somebody else's act was cut off here; looked at only."""

    status = "interrupted"


class Gone(Exception):
    """The process ended while we looked at it: no failure, nothing to do."""


REASONS: Dict[str, Reason] = {
    # the job and its parameters
    "not_supported_yet": Reason(
        "Something that this version does not carry out: an option of the builder, a kind of section, a target that "
        "the process maps more than once, a patch of too many functions.",
        "Leave out what is named, or restart the process with the fix instead.",
    ),
    "plan_drifted": Reason(
        "What would be done now is not what the saved plan says.",
        "Run check mode again, read what changed, and save the new plan.",
    ),
    # the artifact
    "artifact_not_found": Reason(
        "The artifact file is not there or can not be read.",
        "Check the path and its permissions.",
    ),
    "artifact_malformed": Reason(
        "The artifact is truncated, altered or not an artifact.",
        "Copy it again, or build it again with livepatch build.",
    ),
    "artifact_too_new": Reason(
        "The artifact's format, or the injector it needs, is newer than this one.",
        "Update the collection on the controller.",
    ),
    "wrong_architecture": Reason(
        "Artifact, object or process are of different architectures.",
        "Build the patch for the architecture of the target.",
    ),
    "x32": Reason(
        "The x32 ABI (64-bit instructions, 32-bit pointers) is not supported.",
        "Restart this program with the fix instead.",
    ),
    "unsupported_relocation": Reason(
        "The patch needs a relocation that can not be carried out in a running process.",
        "Avoid the construct that is named: thread-local symbols, indirect functions that nobody in the process calls, "
        "common symbols.",
    ),
    "relocation_overflow": Reason(
        "A relocated value does not fit its field at the addresses there are.",
        "Compile the patch with -fPIC, so that far references go through slots.",
    ),
    # the signature
    "not_signed": Reason(
        "The artifact has no signature, and signatures are demanded (trusted_keys, or /etc/livepatch/allowed_signers "
        "on the host).",
        "Sign it with livepatch sign, and keep its .sig beside it.",
    ),
    "bad_signature": Reason(
        "The signature is not one of this file, or not one for livepatch.",
        "Copy artifact and .sig again, or sign it again with livepatch sign.",
    ),
    "signer_not_allowed": Reason(
        "The signature is right, and its key is not one that is allowed here, or not now.",
        "Have it signed by somebody who is, or add the key to the list of allowed signers.",
    ),
    "signers_unusable": Reason(
        "The list of allowed signers can not be trusted: it can not be read, is not in ssh-keygen's format, or others "
        "than root may write the host's own.",
        "Correct the file that is named; until then nothing is accepted.",
    ),
    "no_verifier": Reason(
        "Signatures are demanded, and there is no OpenSSH here that can verify them (ssh-keygen -Y, 8.2 or later).",
        "Install a newer openssh-clients; nothing is accepted unverified.",
    ),
    # the process, looked at
    "not_permitted": Reason(
        "The kernel does not let us trace this process.",
        "Run with become: true; look at yama's ptrace_scope, the LSM's log and user namespaces.",
    ),
    "kernel_thread": Reason("A kernel thread has no user space.", ""),
    "exiting": Reason("The process is a zombie or about to end.", "Nothing to do; look at its parent if it stays."),
    "being_traced": Reason(
        "Another program traces this process.",
        "End the debugger or tracer that is named, then try again.",
    ),
    "in_use_by": Reason("Another livepatch works on this process.", "Wait for it to end, then try again."),
    "shadow_stack": Reason("The process runs with a user shadow stack.", "Restart it with the fix instead."),
    "shares_memory": Reason(
        "Another process shares this one's memory; it would run half-patched code unseen.",
        "Wait until that process has gone.",
    ),
    "uninterruptible": Reason(
        "A thread sits in an uninterruptible system call.",
        "Try again; look at its storage if it stays.",
    ),
    "vfork": Reason("A thread waits for its vfork child.", "Try again when the child has executed its program."),
    "coroutines_unsupported": Reason(
        "The process has coroutines or goroutines, and more memory than a stop is long enough to be searched for their "
        "suspended stacks; or the code to be replaced is Go's.",
        "Give a longer stop_ms, or coroutines: ignore where none can be inside; a Go program: restart it with the fix.",
    ),
    "seccomp": Reason(
        "A seccomp filter forbids a system call that the patch needs, or it can not be read.",
        "Allow the named call in the service's filter (systemd: SystemCallFilter).",
    ),
    "no_gadget": Reason(
        "No system call instruction was found that could be borrowed.",
        "Restart it with the fix instead.",
    ),
    "no_stack_room": Reason(
        "No thread has a stack that is proven to have room for a signal frame.",
        "Try again; another thread may have room then.",
    ),
    "rseq_unknown": Reason(
        "All threads run, and the kernel (before 5.13) can not tell whether one is in a restartable sequence "
        "(rseq).",
        "Try again while a thread waits in a system call.",
    ),
    "build_id_mismatch": Reason(
        "The process runs another build of the target than the patch was made for.",
        "Build the patch for this build.",
    ),
    "target_not_mapped": Reason("The process does not map the patch's target.", "Select other processes."),
    "code_differs": Reason(
        "Code is not, byte for byte, what the patch was built against.",
        "Remove what changed it (uprobe, debugger, other patcher), or build against the file that runs.",
    ),
    "symbol_not_found": Reason(
        "A symbol that the patch refers to was not found.",
        "Build the patch against this target and its libraries.",
    ),
    "symbol_mismatch": Reason(
        "A symbol resolves to something else than the patch was built for.",
        "Build the patch against this target and its libraries.",
    ),
    "no_unwind_tables": Reason(
        "The target has no unwind tables; stacks can not be checked.",
        "Restart it with the fix instead.",
    ),
    "no_memory_in_reach": Reason(
        "No free memory within reach of a jump from the target.",
        "Restart it with the fix instead.",
    ),
    "no_named_memory": Reason(
        "The process can not make a named memory file (memfd_create).",
        "Allow memfd_create for it, or restart it with the fix.",
    ),
    "no_executable_memory": Reason(
        "A security policy denies the process executable memory.",
        "Look at the LSM's log; restart it with the fix instead.",
    ),
    "function_too_short": Reason(
        "A function is shorter than the jump that would replace it.",
        "Patch its callers instead.",
    ),
    "crosses_page": Reason(
        "The jump would cross a page boundary, so it can not be written at one instant.",
        "Patch its callers instead.",
    ),
    "interrupted": Reason(
        "An earlier act on this process was cut off.",
        "Any writing command (apply, revert, recover) puts it right first.",
    ),
    "ledger_unreadable": Reason(
        "A patch's ledger in the process is damaged, or of a newer format.",
        "Use the newest version; else restart the process.",
    ),
    "stacking": Reason(
        "Another build or version of this patch is in the process, or a patch has replaced a part of this function.",
        "Revert that patch first; or, where the new patch supersedes it, give replace: true.",
    ),
    "superseded": Reason("A patch in the process has taken the place of this one.", "Nothing to do."),
    "not_entry_safe": Reason(
        "The artifact does not promise that calls under way can finish in the old code.",
        "Leave consistency at strict.",
    ),
    "conflicts": Reason("The patch conflicts with one that is in the process.", "Revert the other patch first."),
    "requires": Reason("The patch requires another one that is not in the process.", "Apply that patch first."),
    "needed_by": Reason("Another patch in the process requires this one.", "Revert the other patch first."),
    # the stop
    "function_on_stack": Reason(
        "A thread is inside a function that would change.",
        "Try again, give more patience, or a longer stop_ms where its calls take long.",
    ),
    "function_on_coroutine": Reason(
        "A word in memory leads into a function that would change: a suspended coroutine is inside of it, or was not "
        "long ago.",
        "Try again, or give more patience; coroutines: ignore leaves them out, where you know better.",
    ),
    "cannot_unwind": Reason(
        "A thread's stack could not be read to its end, so nothing is known.",
        "Try again, or give more patience.",
    ),
    "stop_timeout": Reason("A thread did not stop in time.", "Try again, or give a longer stop_ms."),
    "threads_changing": Reason(
        "Threads started faster than they could be stopped.",
        "Try again, or give more patience.",
    ),
    "libraries_changing": Reason(
        "The process begins, or loads or unloads a library, and has not come to an end with it.",
        "Try again; if it stays so, look what its dynamic linker waits for.",
    ),
    "still_referenced": Reason(
        "The process still holds addresses inside the patch's memory.",
        "Its code is out of use; the few pages stay until the process ends.",
    ),
    # what went wrong half-way
    "cancelled": Reason(
        "We were asked to stop (SIGTERM, SIGINT or SIGHUP) and undid what was begun.",
        "Run it again when convenient.",
    ),
    "put_back": Reason(
        "Put back, because another process of this host could not be patched (all_or_nothing).",
        "See the process that failed.",
    ),
    "held_back": Reason(
        "Not touched, because another process of this host was refused (all_or_nothing).",
        "See the process that was refused.",
    ),
    "failed_midway": Reason(
        "An unexpected error came up after the work had begun.",
        "Report it; the process is as it was.",
    ),
    "memory_left": Reason(
        "The patch was not put in, and memory that was made for it could not be freed yet.",
        "The next writing command frees it; nothing leads there.",
    ),
    "could_not_undo": Reason(
        "What was begun could be neither finished nor undone.",
        "Do not touch the process; look at it with livepatch list and report it.",
    ),
    # the builder
    "ambiguous_symbol": Reason("Several symbols of this name exist.", "Say which source file is meant."),
    "call_cycle": Reason(
        "Functions whose private interface changed together call each other in a circle; no order of writes is "
        "safe.",
        "Keep one of the interfaces as it was.",
    ),
    "copies_remain": Reason(
        "Copies of a replaced function, inlined or cloned, would go on running.",
        "Replace their functions, too, or accept each by its name (--accept-copy).",
    ),
    "data_changed": Reason("Existing data differs; what runs has the old data.", "Change code only."),
    "layout_changed": Reason("A type's layout differs; data that exists has the old layout.", "Keep the layout."),
    "lto_objects": Reason(
        "Objects of link-time optimisation hold no machine code.",
        "Keep the ltrans objects with -save-temps.",
    ),
    "no_debug_info": Reason("Symbols or DWARF are missing.", "Give the separate debug file, or build with -g."),
    "nothing_changed": Reason("Old and new are the same.", "Check which files were given."),
    "private_abi": Reason(
        "Callers may rely on more than the standard calling convention of a replaced function.",
        "Patch its callers in the same patch.",
    ),
    "prototype_differs": Reason("The new function's prototype is not that of the target.", "Keep the prototype."),
    "several_ranges": Reason(
        "A function lies in several ranges and not all of them are replaced.",
        "Build the patch from whole objects.",
    ),
    "throws_through": Reason(
        "Exceptions would cross the new code.",
        "Patch a function that does not take part in exceptions.",
    ),
    "signing_failed": Reason(
        "OpenSSH could not sign with this key.",
        "Read what ssh-keygen says; a key with a passphrase needs a terminal, or ssh-agent.",
    ),
    "compile_failed": Reason("The compiler refused the patch source.", "Read its messages above."),
    "file_malformed": Reason(
        "An input of the builder can not be read as what it should be.",
        "Check which files were given.",
    ),
    "objects_do_not_pair": Reason(
        "Old and new objects are not two builds of the same units.",
        "Give them in the same order, as many old as new.",
    ),
    "macro_misused": Reason(
        "A macro of livepatch.h does not fit the file that it stands in.",
        "Mend the line that is named.",
    ),
    "needs_function_sections": Reason(
        "Code or data that changed shares its section with other code or data.",
        "Build both sides with -ffunction-sections -fdata-sections.",
    ),
}
