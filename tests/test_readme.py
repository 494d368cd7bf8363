"""The READMEs are true: their Python runs, and their command reference is what ``--help`` says.

After a change of the command line, ``python tests/test_readme.py`` writes the reference anew.
"""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
README, TRAIN_README = ROOT / "README.md", ROOT / "train" / "README.md"
START, END = "<!-- commands -->\n", "<!-- /commands -->\n"
PACKAGES = {README: "softlabel.cli", TRAIN_README: "softlabel_train.cli"}


def help_of(main, *path):
    result = CliRunner().invoke(main, [*path, "--help"], prog_name=main.name, terminal_width=100)
    assert result.exit_code == 0, result.output
    return re.sub(r"[ \t]+$", "", result.output, flags=re.MULTILINE).strip()


def commands(package):
    """(title, help text) of every command and subcommand."""
    cli = import_module(package)
    for name in cli.COMMANDS:
        attribute = name.replace("-", "_")
        command = getattr(import_module(f"{package}.{attribute}"), attribute)
        subcommands = list(getattr(command, "commands", {}))
        for path in ([name], *([name, sub] for sub in subcommands)):
            yield f"{cli.main.name} {' '.join(path)}", help_of(cli.main, *path)


def reference(file):
    blocks = [f"### {title}\n```text\n{text}\n```\n" for title, text in commands(PACKAGES[file])]
    return START + "\n".join(blocks) + END


def written(file):
    text = file.read_text()
    return text[text.index(START) : text.index(END) + len(END)]


@pytest.mark.parametrize("file", PACKAGES, ids=["softlabel", "train"])
def test_command_reference_is_what_help_says(file):
    if file == TRAIN_README:
        pytest.importorskip("pydantic")
    assert written(file) == reference(file), "run: python tests/test_readme.py"


def python_blocks():
    pattern = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for file in PACKAGES for block in pattern.findall(file.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("code", python_blocks())
def test_python_blocks_run(code, tmp_path):
    if "torch" in code:
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_is_python_to_run():
    assert python_blocks()


def test_linked_files_exist():
    for file in PACKAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", file.read_text())
        assert [link for link in links if not (file.parent / link).exists()] == []


def test_every_recipe_key_and_arm_that_the_trainers_readme_names_exists():
    pytest.importorskip("pydantic")
    from softlabel_train.config import Recipe, recipe_arms, recipe_names

    text = TRAIN_README.read_text()
    keys = set(Recipe().flat())
    sections = "|".join({key.partition(".")[0] for key in keys if "." in key})
    named = set(re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)", text))
    named = {name for name in named if not name.endswith(".py")}
    assert named and named <= keys
    assert {"oct_dme"} <= set(recipe_names())
    for arm in recipe_arms("oct_dme"):
        assert f"`{arm}`" in text


ARCHITECTURES = {
    ROOT / "docs/architecture.md": ("## Rooms", "## Where to touch what", ROOT / "softlabel"),
    TRAIN_README: ("## Where things are", "## Commands", ROOT / "train/softlabel_train"),
}


@pytest.mark.parametrize("file", ARCHITECTURES, ids=["softlabel", "train"])
def test_the_architecture_names_the_modules_that_there_are(file):
    first, last, package = ARCHITECTURES[file]
    text = file.read_text()
    names = re.findall(r"`([\w/*.]+(?:\.py|\.md|/))`", text[text.index(first) : text.index(last)])
    named = set()
    for name in names:
        found = [*package.glob(name), *ROOT.glob(name)]
        assert found, name
        named |= {part for path in found for part in (path, *path.glob("**/*"))}
    modules = {p for p in package.rglob("*.py") if not p.name.startswith("__")}
    assert {p.name for p in modules - named} == set()


if __name__ == "__main__":
    for readme in PACKAGES:
        readme.write_text(readme.read_text().replace(written(readme), reference(readme)))
