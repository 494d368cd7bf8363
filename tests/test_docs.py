"""The documentation is true: its Python runs, its commands, files and names are there.

After a change of a command line, ``python tests/test_docs.py`` writes docs/cli.md anew.
``make docs`` checks the links between the pages.
"""

import doctest
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import softlabel
from softlabel.distance.boundary import BOUNDARIES
from softlabel.generation.findings import FINDINGS
from softlabel.generation.settings import Settings
from softlabel.phantom import write_mri_dataset
from softlabel.softening import METHODS as METHOD_TABLE

ROOT = Path(__file__).parents[1]
README, TRAIN_README = ROOT / "README.md", ROOT / "train" / "README.md"
CONTRIBUTING, CHANGELOG = ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
RESULTS = ROOT / "benchmarks/RESULTS.md"
PAGES = [README, TRAIN_README, CONTRIBUTING, CHANGELOG, RESULTS, *DOCS]
TRAINING, METHODS = ROOT / "docs/training.md", ROOT / "docs/methods.md"
REFERENCE = ROOT / "docs/cli.md"
PACKAGES = {"softlabel": "softlabel.cli", "softlabel-train": "softlabel_train.cli"}


# --- the command reference ------------------------------------------------------------------------


def help_of(main, *path):
    result = CliRunner().invoke(main, [*path, "--help"], prog_name=main.name, terminal_width=100)
    assert result.exit_code == 0, result.output
    return re.sub(r"[ \t]+$", "", result.output, flags=re.MULTILINE).strip()


def commands(package):
    """(title, help text) of the program, and of every command and subcommand."""
    cli = import_module(package)
    yield cli.main.name, help_of(cli.main)
    for name in cli.COMMANDS:
        attribute = name.replace("-", "_")
        command = getattr(import_module(f"{package}.{attribute}"), attribute)
        subcommands = list(getattr(command, "commands", {}))
        for path in ([name], *([name, sub] for sub in subcommands)):
            yield f"{cli.main.name} {' '.join(path)}", help_of(cli.main, *path)


def markers(program):
    return f"<!-- {program} -->\n", f"<!-- /{program} -->\n"


def reference(program):
    blocks = [f"## {title}\n```text\n{text}\n```\n" for title, text in commands(PACKAGES[program])]
    start, end = markers(program)
    return start + "\n".join(blocks) + end


def written(program, text):
    start, end = markers(program)
    return text[text.index(start) : text.index(end) + len(end)]


@pytest.mark.parametrize("program", PACKAGES)
def test_the_command_reference_is_what_help_says(program):
    if program == "softlabel-train":
        pytest.importorskip("pydantic")
    found = written(program, REFERENCE.read_text())
    assert found == reference(program), "run: python tests/test_docs.py"


# --- make -----------------------------------------------------------------------------------------


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_targets_that_people_are_told_to_make_are_there():
    told = {
        name for page in [*PAGES, ROOT / ".ci/run", ROOT / "Makefile"]
        for name in re.findall(r"(?:`|^|# |; )make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE)
    }  # fmt: skip
    assert {"demo", "test", "docs", "dist", "lint", "bench"} <= told
    assert told <= make_targets()


def test_no_target_is_taken_for_the_folder_of_its_name():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and set(phony[1].split()) == make_targets()


# --- findings -------------------------------------------------------------------------------------

CHECKS = ROOT / "docs/checks.md"


def finding_table():
    rows = ["| code | | what it means | what settles it |", "|---|---|---|---|"]
    for code, kind in FINDINGS.items():
        settled = kind.settled_by.replace("|", "\\|")
        rows.append(f"| `{code}` | {kind.severity} | {kind.meaning} | {settled} |")
    start, end = markers("findings")
    return start + "\n".join(rows) + "\n" + end


def test_the_table_of_findings_is_that_of_the_code():
    found = written("findings", CHECKS.read_text())
    assert found == finding_table(), "run: python tests/test_docs.py"


# --- Python ---------------------------------------------------------------------------------------


def python_blocks():
    """Every block of Python but those after ``<!-- no-run -->`` and those that are a file."""
    pattern = re.compile(r"(<!-- no-run -->\n)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    pages = [README, *DOCS]
    return [block for page in pages for no_run, block in pattern.findall(page.read_text())
            if not no_run]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("code", python_blocks())
def test_python_blocks_run(code, tmp_path):
    for library in ("torch", "monai"):
        if library in code:
            pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_is_python_to_run():
    assert len(python_blocks()) >= 5
    assert "```python\n" in README.read_text()


def test_docstrings_are_rewritten_for_the_site_as_their_examples_show():
    pytest.importorskip("griffe")
    module = import_module_from(ROOT / "docs/docstrings.py")
    assert doctest.testmod(module) == (0, 2)


def import_module_from(path):
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- files and names ------------------------------------------------------------------------------


ON_THE_WEB = (
    "https://github.com/softlabel/softlabel/blob/main/",
    "https://raw.githubusercontent.com/softlabel/softlabel/main/",
)
"""Where files of the project are for readers of the README outside of a clone."""


def test_the_readme_links_files_of_the_project_by_their_addresses():
    text = (ROOT / "README.md").read_text()
    inline = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in inline if not link.startswith("https://")] == []
    defined = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, re.MULTILINE))
    assert defined.keys() == set(re.findall(r"\]\[([^\]]+)\]", text))
    for name, address in defined.items():
        assert (ROOT / name).is_file() and address in {base + name for base in ON_THE_WEB}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_links_or_names_exist(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    folders = "softlabel|train|tests|benchmarks|docs|examples|findings"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_api_reference_has_every_public_name():
    text = (ROOT / "docs/api.md").read_text()
    shown = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    trainer = (ROOT / "train/softlabel_train/__init__.py").read_text()
    theirs = re.findall(r"^    from softlabel_train\.\w+ import (\w+) as", trainer, re.MULTILINE)
    assert theirs
    public = {f"softlabel.{name}" for name in softlabel._PUBLIC}
    assert public | {f"softlabel_train.{name}" for name in theirs} <= set(shown)


@pytest.mark.parametrize("name", METHOD_TABLE)
def test_every_method_has_its_formula_its_defaults_and_when_it_is_wrong(name):
    options = METHOD_TABLE[name].options
    module = f"`{options.__module__.replace('.', '/')}.py`"
    [section] = [s for s in METHODS.read_text().split("\n## ") if module in s]
    assert re.search(r"^ *```(text)?\n *q_\w+.* [=∝] ", section, re.MULTILINE)
    assert "wrong to use" in section.lower()
    for field in fields(options):
        if "help" in field.metadata:
            flag = f"--{field.name.replace('_', '-')}"
            assert f"`{field.name}`" in section or f"`{flag}" in section
            if isinstance(field.default, float) and field.default:
                assert f"{field.default:g}" in section


def test_the_picture_of_the_methods_is_small_and_draws_them_all():
    picture = import_module_from(ROOT / "docs/methods_picture.py")
    assert set(picture.NOT_DRAWN) | set(picture.OF_LAYERS) < set(METHOD_TABLE)
    assert picture.TARGET.stat().st_size < 200_000
    assert f"]({picture.TARGET.name})" in METHODS.read_text()


def test_the_worked_example_is_what_is_computed():
    section = METHODS.read_text().split("\n## ")[1]
    rows = re.findall(r"^\| q, `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert {name for name, _ in rows} == set(BOUNDARIES)
    for name, cells in rows:
        soft = softlabel.soften(np.array([1, 1, 1, 1, 1, 0, 0, 0]), np.zeros(8, int), boundary=name)
        shown = [float(cell) for cell in cells.split(" | ")]
        np.testing.assert_allclose(soft.dense()[1], shown, atol=5e-4)


def test_the_row_of_the_dilation_method_is_what_is_computed():
    row = re.search(r"^\| q, `dilation` \| (.*) \|$", METHODS.read_text(), re.MULTILINE)
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 0, 0])
    soft = softlabel.soften(labels, method="dilation", dilations=2)
    np.testing.assert_allclose(soft.dense()[1], [float(cell) for cell in row[1].split(" | ")])


def test_every_recipe_key_and_arm_that_the_training_guide_names_exists():
    pytest.importorskip("pydantic")
    from softlabel_train.config import Recipe, recipe_arms, recipe_names

    text = TRAINING.read_text()
    keys = set(Recipe().flat())
    sections = "|".join({key.partition(".")[0] for key in keys if "." in key})
    named = set(re.findall(rf"`((?:{sections})(?:\.[a-z_]+)+)", text))
    assert named and named <= keys
    assert {"oct_dme"} <= set(recipe_names())
    for arm in recipe_arms("oct_dme"):
        assert f"`{arm}`" in text


LEDGER = ROOT / "docs/reproduction.md"


def shell_commands(page):
    """Commands of the blocks of a page, in words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def ledger_commands(*first):
    found = [c for c in shell_commands(LEDGER) if c[: len(first)] == list(first)]
    assert found
    return found


def test_the_ledger_has_no_other_commands_than_those_that_are_tested():
    starts = {" ".join(c[:2]) for c in shell_commands(LEDGER)}
    assert starts == {"softlabel generate", "softlabel-train fit", "softlabel-train sweep",
                      "python -m"}  # fmt: skip


def test_every_key_and_arm_that_the_ledger_names_exists():
    pytest.importorskip("pydantic")
    from softlabel_train.config import Recipe, recipe_arms

    text = LEDGER.read_text()
    sections = set(Recipe.model_fields) - {"generate"}
    keys = set(Recipe().flat())
    named = set(re.findall(r"`((?:\w+)\.[a-z_]+)`", text))
    of_recipes = {name for name in named if name.partition(".")[0] in sections}
    assert {"loss.dice", "train.precision", "evaluate.convention"} <= of_recipes
    known = {key.rsplit(".", n)[0] for key in keys for n in (0, 1)}
    assert of_recipes <= known | sections
    of_generate = {n.partition(".")[2] for n in named if n.startswith("generate.")}
    assert of_generate and of_generate <= set(Settings.__dataclass_fields__)
    for arm in recipe_arms("oct_dme"):
        if not arm.endswith(("-hard", "-superpixel")):
            assert f"`{arm}`" in text


def test_recipes_take_what_the_ledger_gives_them():
    pytest.importorskip("pydantic")
    from softlabel_train.config import load_recipe, parse_grid

    for _, _, recipe, *words in ledger_commands("softlabel-train", "fit"):
        assert load_recipe(recipe, [w for w in words if "=" in w])
    for _, _, recipe, *words in ledger_commands("softlabel-train", "sweep"):
        given = words[words.index("--set") + 1 :]
        grids = [parse_grid(w) for w in words[: words.index("--set")]]
        for key, values in grids:
            for value in values:
                assert load_recipe(recipe, [f"{key}={value}", *given])


@pytest.mark.parametrize("program", PACKAGES)
def test_options_that_the_ledger_gives_are_there(program):
    if program == "softlabel-train":
        pytest.importorskip("pydantic")
    texts = dict(commands(PACKAGES[program]))
    for _, command, *words in ledger_commands(program):
        options = {w for w in words if w.startswith("-")}
        text = texts[f"{program} {command}"]
        assert {o for o in options if not re.search(rf"(^|\s|,){o}\b", text)} == set()


def test_modules_that_the_ledger_runs_are_there():
    for _, _, module, *_ in ledger_commands("python", "-m"):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()


@pytest.mark.slow
def test_caches_that_the_ledger_generates_leave_out_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mri_dataset(tmp_path / "data/MRBrainS18", n_subjects=1, shape=(64, 64, 16))
    main = import_module("softlabel.cli").main
    for _, *words in ledger_commands("softlabel", "generate"):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    with softlabel.open_cache("without.h5") as cache:
        assert cache.classes.values == tuple(range(9))
        assert cache.ignore is not None


ARCHITECTURES = {
    ROOT / "docs/architecture.md": ("## Rooms", "## Where to touch what", ROOT / "softlabel"),
    TRAIN_README: ("## Where things are", "Nothing in `softlabel`", ROOT / "train/softlabel_train"),
}


@pytest.mark.parametrize("page", ARCHITECTURES, ids=["softlabel", "train"])
def test_the_architecture_names_the_modules_that_there_are(page):
    first, last, package = ARCHITECTURES[page]
    text = page.read_text()
    names = re.findall(r"`([\w/*.]+(?:\.py|\.md|/))`", text[text.index(first) : text.index(last)])
    named = set()
    for name in names:
        found = [*package.glob(name), *ROOT.glob(name)]
        assert found, name
        named |= {part for path in found for part in (path, *path.glob("**/*"))}
    modules = {p for p in package.rglob("*.py") if not p.name.startswith("__")}
    assert {p.name for p in modules - named} == set()


def test_every_file_that_states_the_version_states_the_same():
    stated = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert stated and stated[1] == softlabel.__version__
    assert f"## {softlabel.__version__}" in CHANGELOG.read_text()


if __name__ == "__main__":
    page = REFERENCE.read_text()
    for program in PACKAGES:
        page = page.replace(written(program, page), reference(program))
    REFERENCE.write_text(page)
    page = CHECKS.read_text()
    CHECKS.write_text(page.replace(written("findings", page), finding_table()))
