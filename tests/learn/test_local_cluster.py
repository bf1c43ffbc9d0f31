"""Ctrl-C while worker processes start: not for them, and not lost for their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mmnet_maps.learn.local_cluster import _children_ignore_ctrl_c

_CHILD = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('goes on')"


def test_ctrl_c_while_workers_start_is_for_the_parent_alone() -> None:
    with pytest.raises(KeyboardInterrupt), _children_ignore_ctrl_c():
        child = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, timeout=60)
        assert (child.returncode, child.stdout) == (0, "goes on\n")
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
