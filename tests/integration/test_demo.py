# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: its claims hold, and it ends what it started."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-m", "demo"]

# It patches whoever maps its target, and measures the stop.
pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("shop")]


def test_every_claim_of_the_demo_holds() -> None:
    done = subprocess.run(DEMO, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and "Every claim held." in done.stdout, done.stdout + done.stderr


def test_a_demo_that_is_interrupted_leaves_nothing_running() -> None:
    # A job in the background of a shell hands down an ignored SIGINT, with which nobody's Ctrl-C arrives.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        demo = subprocess.Popen(DEMO, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with demo:
        assert demo.stdout is not None
        said = ""
        while "Check:" not in said:
            line = demo.stdout.readline()
            assert line, said
            said += line
        demo.send_signal(signal.SIGINT)
        said += demo.stdout.read()
    assert demo.returncode == 130, said
    daemons = re.findall(r"process (\d+)", said)
    assert len(daemons) == 2
    assert [pid for pid in daemons if Path(f"/proc/{pid}").exists()] == []
