# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A process that we hold: stop and go, calls made in its name, stacks.

==============  ===========================================================
``tracee``      a process that we hold; what the other files are for
``anchor``      the one thread that stays ours from first to last
``thread``      one seized thread and the stop that it is in
``late``        those that did not stop in time
``remote``      system calls made by a thread for us, safe against our death
``orphan``      a call that one who died has left to a thread
``gadgets``     instructions of the process that such a call borrows
``stacks``      which stacks have room for its frame
``rseq``        code that must not be broken off
``seccomp``     what filters say about calls that we are about to make
``restart``     what a stop does to system calls, and how to make good for it
``descriptors`` what such calls have made, reached from outside
``stop``        all threads, stopped for an instant
``safe_point``  the search for an instant at which nobody is in the way
``waiting``     waiting for functions to be left; ``waiting_room``, ``waiting_code``: where threads do
``memory_file`` memory files that calls make and map
``sharing``     who else runs on the same memory
``check``       is a stopped thread inside code that is about to change?
``scan``        the quick look at stacks
``unwind``      the frames of one thread; ``steps``: what it knows of an address
``tables``      where unwind rules come from; ``vdso``, ``leaf``: code without
``references``  does anything still lead into a piece of memory?
``suspended``   is a suspended coroutine inside code that is about to change?
==============  ===========================================================
"""
