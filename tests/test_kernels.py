"""Kernels are compiled once and kept, wherever they may be kept."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softlabel
from softlabel import kernels

MODULE = """
from softlabel.kernels import kernel

@kernel
def twice(x):
    return 2 * x
"""


def run(folder, temporary, home):
    """Use a kernel of a module in ``folder``, in a process whose home is ``home``."""
    environment = os.environ | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{folder}{os.pathsep}{Path(kernels.__file__).parents[1]}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    code = "import mine; print(mine.twice(21), sum(mine.twice.stats.cache_hits.values()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path):
    """A module whose compiled code cannot be kept beside it, since a file is in the way."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "__pycache__").write_text("in the way")
    (tmp_path / "temporary").mkdir()
    return tmp_path


def test_kept_among_temporary_files_when_nothing_else_can_be_written(folder):
    nowhere = "/dev/null/nowhere"
    assert run(folder, folder / "temporary", nowhere) == ["42", "0"]
    assert run(folder, folder / "temporary", nowhere) == ["42", "1"]
    kept = list((folder / "temporary").glob("softlabel-kernels-*"))
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_is_not_used(folder):
    planted = folder / "temporary" / f"softlabel-kernels-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert run(folder, folder / "temporary", "/dev/null/nowhere") == ["42", "0"]
    assert list(planted.iterdir()) == []


def test_warm_up_leaves_nothing_to_compile():
    """A kernel that generation runs must have its signature before workers start."""
    kernels.warm_up()
    compiled = signatures()
    assert compiled["softlabel.distance._settle"] > 0
    labels = np.random.default_rng(0).integers(0, 3, (6, 20, 70))
    image = labels.astype(np.float32)
    for part in (np.s_[0], np.s_[:]):
        ids = softlabel.slic(image[part], 20)
        softlabel.soften(labels[part], ids, ignore=2, normalize="sum").dense()
    assert signatures() == compiled


def signatures():
    """Number of compiled signatures of every kernel."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("softlabel."):
            for attribute, value in vars(module).items():
                if hasattr(value, "nopython_signatures") and value.__module__ == name:
                    found[f"{name}.{attribute}"] = len(value.nopython_signatures)
    return found
