"""Methods of other packages on the command line."""

from __future__ import annotations

import re
import sys

import factories
import numpy as np
import plugins
import pytest
from click.testing import CliRunner

import softlabel
from softlabel.cli import main
from softlabel.softening.plugins import load_plugin

METHOD = """
from dataclasses import dataclass, field
from softlabel.softening import Method
from softlabel.softmaps import hard_maps
@dataclass(frozen=True)
class Options:
    sigma: float = field(default=2.0, metadata={"help": "Another sigma."})
    kind: str = field(default="a", metadata={"help": "A word.", "choices": ("a", "b")})
    strict: bool = field(default=False, metadata={"help": "A flag."})
    weights: tuple[float, ...] = field(default=(1.0, 2.0), metadata={"help": "Numbers."})
    most: int | None = field(default=None, metadata={"help": "A number or none."})
    hidden: int = 3
METHOD = Method("title", Options, False, lambda given, options: hard_maps(given.index, given.table))
"""


@pytest.fixture(autouse=True)
def packages(tmp_path, monkeypatch):
    load_plugin.cache_clear()
    site = plugins.write_example(tmp_path / "site")
    entries = {"stranger": "stranger_options:METHOD"}
    code = {"stranger_options.py": METHOD, "stranger_broken.py": "import no_such_module"}
    plugins.write_package(site, "stranger-package", "2.1", entries, code)
    plugins.write_package(site, "broken-package", "0.1", {"broken": "stranger_broken:METHOD"})
    monkeypatch.syspath_prepend(str(site))
    yield
    load_plugin.cache_clear()
    for name in ("stranger_options", "softlabel_neighbourhood"):
        sys.modules.pop(name, None)


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)], terminal_width=100)


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "data", ["a"])


def recorded(data, tmp_path, *options):
    done = run("generate", data, "-o", tmp_path / "c.h5", "-q", "--jobs", "1", *options)
    assert done.exit_code == 0, done.output
    return factories.settings_of(tmp_path / "c.h5")


@pytest.mark.parametrize("command", ["generate", "check"])
def test_the_help_lists_methods_with_their_options_and_what_is_broken(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    text = re.sub(r"\s+", " ", done.output)
    assert "hard|given|broken|neighbourhood|stranger]" in text
    assert "--neighbourhood-side INTEGER [neighbourhood] Pixels along each side of the" in text
    assert "window. Default: 3." in text
    assert "--stranger-sigma FLOAT [stranger] Another sigma. Default: 2.0." in text
    assert "--stranger-kind [a|b]" in text and "--stranger-strict [stranger] A flag." in text
    assert "hidden" not in text
    assert "broken The package broken-package 0.1 registers the softening method 'broken'" in text


def test_a_method_with_its_option_makes_a_cache(data, tmp_path):
    made = recorded(data, tmp_path, "--method", "neighbourhood", "--neighbourhood-side", "5")
    assert made["method_options"] == {"side": 5}
    case = softlabel.open_cache(tmp_path / "c.h5")["a"]
    expected = softlabel.soften(case.labels[:], method="neighbourhood", side=5)
    np.testing.assert_array_equal(case.soft[:], expected.dense())


def test_options_of_every_type(data, tmp_path):
    options = "--stranger-sigma 3 --stranger-kind b --stranger-strict --stranger-weights 1,2.5"
    made = recorded(
        data, tmp_path, "--method=stranger", *options.split(), "--stranger-most", "4"
    )  # fmt: skip
    assert made["method_options"] == {
        "sigma": 3.0, "kind": "b", "strict": True, "weights": [1.0, 2.5], "most": 4, "hidden": 3
    }  # fmt: skip
    refused = run("generate", data, "-o", tmp_path / "c.h5", "--method=stranger",
                  "--stranger-kind", "c")  # fmt: skip
    assert refused.exit_code == 2 and "'c' is not one of 'a', 'b'" in refused.output


def test_an_option_that_the_command_has_is_not_taken_from_it(data, tmp_path, monkeypatch):
    site = tmp_path / "other"
    entries = {"slic": "stranger_slic:METHOD"}
    code = {"stranger_slic.py": METHOD.replace("sigma:", "dims:")}
    plugins.write_package(site, "slic-package", "3", entries, code)
    monkeypatch.syspath_prepend(str(site))
    done = run("generate", data, "-o", tmp_path / "c.h5", "--method", "slic")
    assert done.exit_code == 2
    assert "slic-package 3 registers" in done.output and "--slic-dims, which soft" in done.output


def test_options_that_have_no_meaning_are_refused(data, tmp_path):
    cache = tmp_path / "c.h5"
    for options, reason in (
        (("--method", "neighbourhood", "--blur", "2"), "--blur has no meaning with --method neigh"),
        (("--method", "neighbourhood", "--stranger-kind", "a"), "--stranger-kind"),
        (("--neighbourhood-side", "5"), "--neighbourhood-side"),
        (("--method", "neighbourhood", "--boundary", "edge"), "--boundary has no meaning with"),
        (("--method", "magic"), "'neighbourhood'"),
    ):
        done = run("generate", data, "-o", cache, *options)
        assert done.exit_code == 2 and reason in done.output, done.output


def test_a_broken_package_stops_its_own_method_only(data, tmp_path):
    done = run("generate", data, "-o", tmp_path / "c.h5", "--method", "broken")
    assert done.exit_code == 2
    assert done.output.startswith("Error: The package broken-package 0.1 registers the softening")
    assert done.output.count("\n") == 1
    recorded(data, tmp_path, "--method", "hard")
    for command in ("info", "verify"):
        assert run(command, tmp_path / "c.h5").exit_code == 0


def test_click_is_not_told_of_a_method_that_softlabel_has(data, tmp_path, monkeypatch):
    """Metadata of packages is read only when it matters."""
    monkeypatch.setattr("softlabel.cli.plugin_options.registered_names", lambda: 1 / 0)
    recorded(data, tmp_path, "--method", "hard")


def test_a_package_that_takes_a_name_of_softlabel_has_no_options(tmp_path, monkeypatch):
    plugins.write_package(tmp_path / "site", "taker", "1.0", {"gaussian": "os:path"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    text = re.sub(r"\s+", " ", run("generate", "--help").output)
    assert "--gaussian-" not in text
    assert "gaussian The package taker 1.0 registers the softening method 'gaussian', which" in text
