"""Work that is killed at random moments leaves nothing half-written, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_work_leaves_whole_files_and_goes_on(tmp_path):
    """In a process of its own: one that has used TensorFlow cannot be forked."""
    command = [sys.executable, "-m", "tools.kills", "--kills", "10", "--json", str(tmp_path / "kills.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    figures = json.loads((tmp_path / "kills.json").read_bytes())
    assert sum(figures["kills"].values()) == 10
    assert sum(figures["in_time"].values()) >= 3
