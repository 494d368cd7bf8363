"""The programs of ``examples/`` run, and train."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_a_network_of_monai_learns(tmp_path):
    pytest.importorskip("monai")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "monai_unet.py", tmp_path / "run"],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r": loss (\S+)", done.stdout)]
    assert losses[-1] < losses[0] / 2
    assert float(re.findall(r"trained on: (\S+)", done.stdout)[0]) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--epochs=3", 2)])
def test_options_are_no_folders(tmp_path, option, status):
    pytest.importorskip("monai")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "monai_unet.py", option],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "[folder]" in done.stdout + done.stderr and not list(tmp_path.iterdir())
