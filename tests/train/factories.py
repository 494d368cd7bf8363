"""Recipes of short runs, and what starts them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from scipy.io import loadmat, savemat
from softlabel_train.cli import main
from softlabel_train.config import Recipe, load_recipe

QUICK = ("train.steps=2", "train.pictures=0", "train.threads=1", "generate={}")
"""Overrides of a run that takes seconds."""

SCRIPT = """
import sys
from softlabel_train.config import load_recipe
from softlabel_train.loop import fit
result = fit(load_recipe(sys.argv[1]), sys.argv[2])
print("interrupted" if result.interrupted else "finished", result.steps)
"""
"""Trains a recipe in a process of its own: arguments are the recipe's file and the run's folder."""


def recipe_for(cache: Path, *overrides: str) -> Recipe:
    """The smallest recipe, on a cache."""
    return load_recipe(
        "smoke", [f"data.cache={cache}", "generate={}", "train.threads=1", "train.pictures=0",
                  *overrides]
    )  # fmt: skip


def copy_of(cache: Path, folder: Path) -> Path:
    """A copy of a cache, which a test may do anything to."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(cache.with_suffix(".parts"), folder / f"{cache.stem}.parts")
    return Path(shutil.copy(cache, folder / cache.name))


def spoil_bscan(data: Path, subject: int, number: int) -> str:
    """Leave nothing but noise of an annotated B-scan of a data set; returns the id of its case."""
    path = data / f"Subject_{subject:02d}.mat"
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    annotated = np.flatnonzero(~np.isnan(content["manualLayers1"]).all(axis=(0, 1)))
    bscan = annotated[number]
    shape = content["images"].shape[:2]
    content["images"][..., bscan] = np.random.default_rng(0).integers(0, 200, shape)
    savemat(path, content)
    return f"Subject_{subject:02d}_bscan_{bscan:03d}"


def call(*arguments: object) -> Result:
    """``softlabel-train`` in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])
