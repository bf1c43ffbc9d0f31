"""Jobs that are killed before a file operation are finished by the same job, to the same bytes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(sys.platform != "linux", reason="the jobs are forked")
def test_a_sample_of_kills() -> None:
    # Every operation: python -m tests.killing
    command = [sys.executable, "-m", "tests.killing", "--every", "131", "--offset", "16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = re.findall(r"(?m)^(.+): (\d+) kills of (\d+)", done.stdout)
    assert len(counts) == 6
    assert all(int(kills) == -(-(int(of) - 16) // 131) > 0 for _, kills, of in counts)
