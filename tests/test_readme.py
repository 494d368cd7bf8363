"""The README is true: its Python runs, and its command reference is what ``--help`` says.

After a change of the command line, ``python tests/test_readme.py`` writes the reference anew.
"""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import softlabel.cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- commands -->\n", "<!-- /commands -->\n"


def help_of(command, *path):
    result = CliRunner().invoke(
        command, [*path, "--help"], prog_name=softlabel.cli.main.name, terminal_width=100
    )
    assert result.exit_code == 0, result.output
    return re.sub(r"[ \t]+$", "", result.output, flags=re.MULTILINE).strip()


def commands():
    """(title, help text) of every command and subcommand."""
    for name in softlabel.cli.COMMANDS:
        command = getattr(import_module(f"softlabel.cli.{name}"), name)
        subcommands = list(getattr(command, "commands", {}))
        for path in ([name], *([name, sub] for sub in subcommands)):
            yield f"softlabel {' '.join(path)}", help_of(softlabel.cli.main, *path)


def reference():
    blocks = [f"### {title}\n```text\n{text}\n```\n" for title, text in commands()]
    return START + "\n".join(blocks) + END


def written():
    text = README.read_text()
    return text[text.index(START) : text.index(END) + len(END)]


def test_command_reference_is_what_help_says():
    assert written() == reference(), "run: python tests/test_readme.py"


def python_blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", python_blocks())
def test_python_blocks_run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_is_python_to_run():
    assert python_blocks()


def test_linked_files_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_modules_of_the_architecture_exist():
    text = README.read_text()
    section = text[text.index("## Architecture") : text.index("## Commands")]
    names = re.findall(r"`([\w/*.]+(?:\.py|\.md|/))`", section)
    assert len(names) > 10
    for name in names:
        folders = (ROOT, ROOT / "softlabel")
        assert any(any(folder.glob(name)) for folder in folders), name


if __name__ == "__main__":
    README.write_text(README.read_text().replace(written(), reference()))
