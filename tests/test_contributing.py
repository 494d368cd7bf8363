"""The walk-throughs of CONTRIBUTING.md work: in a copy of the checkout their tests pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("softlabel", "train", "tests")
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

WALK_THROUGHS = {
    "Add a reader": ("tests/readers/test_catalogue.py", "tests/readers/test_casefolders.py"),
    "Add a softening method": ("tests/softening/test_window.py", "tests/softening/test_front.py"),
}
"""Section, and what must pass after it beside the rules of who may import whom."""


def section(title):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def changed(text, diff):
    """A file after the changes of a diff without line numbers, whose pieces ``@@`` separates."""
    for piece in diff.split("@@\n"):
        lines = piece.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(before) == 1, f"the walk-through changes what is not there:\n{before}"
        text = text.replace(before, after)
    return text


def follow(title, checkout):
    blocks = BLOCK.findall(section(title))
    assert {kind for kind, _, _ in blocks} == {"python", "diff"}
    for kind, name, content in blocks:
        path = checkout / name
        path.write_text(changed(path.read_text(), content) if kind == "diff" else content)
    return [path for _, path, _ in blocks]


@pytest.mark.slow
@pytest.mark.parametrize("title", WALK_THROUGHS)
def test_a_walk_through_works(title, tmp_path):
    for folder in COPIED:  # with numba's compiled kernels, except those that are being written
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.tmp.*", "*.pyc*")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    follow(title, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_imports.py",
         *WALK_THROUGHS[title]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'train'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_walk_through_that_is_out_of_date_is_noticed():
    with pytest.raises(AssertionError, match="changes what is not there"):
        changed("a\nb\n", "-c\n+d\n")
    assert changed("a\nb\nc\n", " a\n+x\n@@\n-c\n+d\n") == "a\nx\nb\nd\n"
