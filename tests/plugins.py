"""Packages that register softening methods, as pip would install them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

METHODS_PAGE = Path(__file__).parents[1] / "docs/methods.md"

BLOCK = r'```{language} title="{title}"\n(.*?)```'


def example(title: str, language: str = "python") -> str:
    """A file of the example in the documentation."""
    pattern = BLOCK.format(language=language, title=re.escape(title))
    found = re.search(pattern, METHODS_PAGE.read_text(), re.DOTALL)
    assert found, f"{METHODS_PAGE} shows no {title}"
    return found[1]


def write_package(
    folder: Path,
    name: str,
    version: str | None,
    entries: Mapping[str, str],
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write the modules of a package and its ``.dist-info``, without a version where it is None.

    Parameters
    ----------
    entries : mapping of str to str
        Name of a method → "module:attribute".
    modules : mapping of str to str
        File name → code.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    stated = "" if version is None else f"Version: {version}\n"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n{stated}")
    lines = [f"{entry} = {place}" for entry, place in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[softlabel.methods]", *lines, ""]))
    for file, code in (modules or {}).items():
        (folder / file).write_text(code)
    return folder


def write_example(folder: Path, version: str = "1.0") -> Path:
    """Write the package of the documentation, whose method is ``neighbourhood``."""
    project = tomllib.loads(example("pyproject.toml", "toml"))["project"]
    module = "softlabel_neighbourhood.py"
    return write_package(
        folder, project["name"], version, project["entry-points"]["softlabel.methods"],
        {module: example(module)},
    )  # fmt: skip
