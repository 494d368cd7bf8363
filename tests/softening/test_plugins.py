"""Softening methods of other packages, installed as pip would install them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import plugins
import pytest

import softlabel
from softlabel.softening import METHODS, method_named, registered_names, release_of
from softlabel.softening.plugins import load_plugin

ROW = np.array([1, 1, 1, 0, 0, 0])

METHOD = """
from dataclasses import dataclass, replace
from softlabel.softening import Method, METHODS
from softlabel.softmaps import hard_maps
def nowhere(maps):
    return replace(maps, values=maps.values * float("nan"))
@dataclass(frozen=True)
class Options:
    {fields}
METHOD = Method("title", Options, False, lambda given, options: {result}{further})
"""


@pytest.fixture(autouse=True)
def fresh():
    """A package that one test installs is gone in the next."""
    modules = set(sys.modules)
    load_plugin.cache_clear()
    yield
    load_plugin.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith("stranger"):
            del sys.modules[name]


def install(monkeypatch, folder, code, name="blur", package="stranger-package", version="2.1"):
    module = f"stranger_{folder.name}"
    plugins.write_package(
        folder, package, version, {name: f"{module}:METHOD"}, {f"{module}.py": code}
    )
    monkeypatch.syspath_prepend(str(folder))


def method(fields="pass", result="hard_maps(given.index, given.table)", further=""):
    return METHOD.format(fields=fields, result=result, further=further)


def test_the_example_of_the_documentation_softens(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins.write_example(tmp_path)))
    maps = softlabel.soften(ROW, method="neighbourhood")
    np.testing.assert_allclose(maps.dense()[1], [1, 1, 2 / 3, 1 / 3, 0, 0], atol=1e-7)
    wide = softlabel.soften(ROW, method="neighbourhood", side=5)
    np.testing.assert_allclose(wide.dense()[1], [1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-7)
    assert release_of("neighbourhood") == "softlabel-neighbourhood 1.0"
    assert "neighbourhood" in registered_names()
    with pytest.raises(ValueError, match="neighbourhood has no option 'width'; it has: side"):
        softlabel.soften(ROW, method="neighbourhood", width=5)


def test_methods_of_softlabel_are_of_no_package():
    for name in METHODS:
        assert method_named(name) is METHODS[name]
        assert release_of(name) is None


def test_an_unknown_name_is_told_what_there_is(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, method(), name="theirs")
    with pytest.raises(ValueError, match=r"one of superpixel, .*given, theirs; got 'magic'"):
        softlabel.soften(ROW, method="magic")


BROKEN = {
    "import": ("import no_such_module", r"cannot be imported \(ModuleNotFoundError.*uninstall"),
    "syntax": ("def (", r"cannot be imported \(SyntaxError"),
    "attribute": ("NOTHING = 1", r"cannot be imported \(AttributeError"),
    "function": ("def METHOD(labels): ...", "is of the type function, not softlabel.softening.Met"),
    "device": (method(further=", on_device=True"), "sets on_device or takes_soft_labels"),
    "soft": (method(further=", takes_soft_labels=True"), "sets on_device or takes_soft_labels"),
    "defaults": (method("width: float"), r"has options without defaults \(TypeError"),
    "type": (
        method("width: object = METHODS['hard']"),
        "has the option 'width' of the type Method",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_package_that_cannot_be_used_is_named_in_one_sentence(kind, tmp_path, monkeypatch):
    code, reason = BROKEN[kind]
    install(monkeypatch, tmp_path, code)
    expected = (
        f"The package stranger-package 2.1 registers the softening method 'blur', but .*{reason}"
    )
    for ask in (
        lambda: softlabel.soften(ROW, method="blur"),
        lambda: softlabel.Settings(method="blur"),
    ):
        with pytest.raises((ValueError, softlabel.errors.UsageError), match=expected) as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert softlabel.soften(ROW, method="hard").classes == (0, 1)  # the others are untouched


def test_a_name_that_is_taken_stays_whose_it_is(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, method(), name="hard")
    assert method_named("hard") is METHODS["hard"]
    with pytest.raises(ValueError, match=r"stranger-package 2.1 .*which softlabel has itself"):
        load_plugin("hard")


def test_a_name_that_two_packages_register_is_of_neither(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "one", method(), package="package-one")
    install(monkeypatch, tmp_path / "two", method(), package="package-two")
    with pytest.raises(ValueError, match=r"package-(one|two) 2.1 .*so does package-(one|two) 2.1"):
        method_named("blur")


def test_a_package_without_a_version_cannot_be_recorded(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, method(), version=None)
    with pytest.raises(ValueError, match="states no version"):
        method_named("blur")


def test_a_name_is_a_word(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, method(), name="My_Blur")
    with pytest.raises(ValueError, match="lower-case letters"):
        method_named("My_Blur")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("given.index", "returned a ndarray, not softlabel.SoftMaps"),
        (
            "hard_maps(given.index[1:], given.table)",
            "returned soft maps of another shape or other classes",
        ),
        (
            "nowhere(METHODS['gaussian'].run(given, METHODS['gaussian'].options()))",
            "returned negative, infinite or NaN soft labels",
        ),
    ],
)
def test_what_a_method_returns_is_looked_at(result, reason, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, method(result=result))
    with pytest.raises(ValueError, match=f"The method blur {reason}"):
        softlabel.soften(ROW, method="blur")


def test_no_metadata_is_read_and_no_package_imported_for_methods_of_softlabel(tmp_path):
    """Nor for the settings of a cache, which `softlabel info` reads."""
    plugins.write_example(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, softlabel\n"
        "from softlabel.generation.settings import recorded_settings\n"
        "softlabel.soften(np.array([0, 1]), method='hard')\n"
        'record = \'{"method": "neighbourhood", "plugin": "softlabel-neighbourhood 1.0"}\'\n'
        "assert recorded_settings(record)['method'] == 'neighbourhood'\n"
        "from softlabel.softening import plugins\n"
        "assert plugins.load_plugin.cache_info().misses == 0\n"
        "assert 'softlabel_neighbourhood' not in sys.modules\n"
        "softlabel.Settings(method='neighbourhood')\n"
        "assert 'softlabel_neighbourhood' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
