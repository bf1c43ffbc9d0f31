"""Ctrl-C while worker processes start: not for them, and not lost for their parent."""

from __future__ import annotations

import subprocess
import sys

_CHILD = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('goes on')"
#: A process of its own: what handles Ctrl-C here, and which threads may take it, depends on earlier tests.
_PARENT = f"""
import os, signal, subprocess, sys
from mmnet_maps.learn.local_cluster import _children_ignore_ctrl_c
try:
    with _children_ignore_ctrl_c():
        child = subprocess.run([sys.executable, "-c", {_CHILD!r}], capture_output=True, text=True, timeout=60)
        os.kill(os.getpid(), signal.SIGINT)
        print("held back", child.returncode, child.stdout.strip())
except KeyboardInterrupt:
    print("reached", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_ctrl_c_while_workers_start_is_for_the_parent_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _PARENT], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["held back 0 goes on", "reached False"], done.stderr
