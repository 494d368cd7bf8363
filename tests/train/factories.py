"""Recipes of short runs, and what starts them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
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


def call(*arguments: object) -> Result:
    """``softlabel-train`` in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])
