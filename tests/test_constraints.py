"""What is tested as the oldest is what the package allows as the oldest."""

import re
import tomllib
from pathlib import Path

import yaml

import softlabel

ROOT = Path(__file__).parents[1]


def versions(lines, sign):
    found = (re.fullmatch(rf"([\w-]+){sign}([\d.]+)", line) for line in lines)
    return {m[1].lower(): tuple(map(int, m[2].split("."))) for m in found if m}


def test_the_oldest_that_are_tested_are_the_oldest_that_are_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locks = [line for line in extras["train"] if line.startswith("filelock")]
    wanted = [*project["dependencies"], *extras["itk"], *locks]
    allowed = versions(wanted, ">=")
    tested = versions((ROOT / "constraints-oldest.txt").read_text().splitlines(), "==")
    assert len(allowed) == len(wanted)
    assert tested.keys() == allowed.keys()
    for name, version in allowed.items():
        assert tested[name] == version + (0,) * (len(tested[name]) - len(version)), name


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    """Under the names of conda-forge."""
    recipe = yaml.safe_load((ROOT / "containers/conda-recipe.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [f"python{project['requires-python']}", *project["dependencies"]]
    named = [line.replace("matplotlib>", "matplotlib-base>") for line in wanted]
    assert [line.replace(" ", "") for line in recipe["requirements"]["run"]] == named
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {target}" for name, target in project["scripts"].items()
    ]
    assert recipe["context"]["version"] == softlabel.__version__
