"""Caches made by the method of another package."""

from __future__ import annotations

import json
import shutil
import sys

import factories
import numpy as np
import plugins
import pytest
from click.testing import CliRunner

import softlabel
from softlabel import generate
from softlabel.cache import Header, open_cache, parts_folder
from softlabel.cache.schema import part_name
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import CacheError, CaseError, UsageError
from softlabel.generation.compute import compute
from softlabel.generation.records import settings_differences
from softlabel.generation.settings import Settings, recorded_settings
from softlabel.softening.plugins import load_plugin

WIDE = {"method": "neighbourhood", "method_options": {"side": 5}}


class Installed:
    """One version of the package at a time, as pip would have it."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def install(self, version):
        self.uninstall()
        plugins.write_example(self.folder, version)

    def uninstall(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        sys.modules.pop("softlabel_neighbourhood", None)
        load_plugin.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    made = Installed(tmp_path / "site", monkeypatch)
    made.install("1.0")
    yield made
    made.uninstall()


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "data", ["a", "b"])


def info(path):
    done = CliRunner().invoke(main, ["info", str(path), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)["settings"]


def test_a_cache_holds_its_maps_and_names_its_package(package, data, tmp_path):
    generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)
    with open_cache(tmp_path / "c.h5") as cache:
        for case in cache.values():
            expected = softlabel.soften(case.labels[:], method="neighbourhood", side=5)
            np.testing.assert_array_equal(case.soft[:], expected.dense())
    settings = info(tmp_path / "c.h5")
    assert settings["plugin"] == "softlabel-neighbourhood 1.0"
    assert settings["method_options"] == {"side": 5}
    assert "n_segments" not in settings and settings["normalize"] == "none"


@pytest.mark.slow
@pytest.mark.parametrize("where", [{"jobs": 2}, {"jobs": 2, "scheduler": "local"}])
def test_workers_find_the_package(where, package, data, tmp_path):
    if "scheduler" in where:
        pytest.importorskip("distributed")
    report = generate(data, tmp_path / "c.h5", Settings(**WIDE), **where)
    assert report.complete, report.failures
    generate(data, tmp_path / "alone/c.h5", Settings(**WIDE), jobs=1)
    assert factories.files_of(tmp_path / "c.h5") == factories.files_of(tmp_path / "alone/c.h5")


def test_another_version_is_another_cache(package, data, tmp_path):
    generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)
    package.install("1.1")
    changed = "plugin: softlabel-neighbourhood 1.0 → softlabel-neighbourhood 1.1"
    with pytest.raises(UsageError, match=rf"made with other settings \({changed}\)"):
        generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)
    with pytest.raises(UsageError, match=r"of softlabel-neighbourhood 1.0, and here .* 1.1;"):
        Settings.from_json(open_cache(tmp_path / "c.h5").header.settings)
    generate(data, tmp_path / "new.h5", Settings(**WIDE), jobs=1)
    file = part_name("a")
    shutil.copy(parts_folder(tmp_path / "new.h5") / file, parts_folder(tmp_path / "c.h5") / file)
    with pytest.raises(CacheError, match="made with other settings than its index records"):
        np.asarray(open_cache(tmp_path / "c.h5")["a"].soft)


def test_the_same_version_goes_on(package, data, tmp_path):
    generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)
    package.install("1.0")
    assert generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1).skipped == 2


def test_a_cache_is_read_without_its_package(package, data, tmp_path):
    generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)
    with_package = info(tmp_path / "c.h5")
    package.uninstall()
    assert info(tmp_path / "c.h5") == with_package
    assert verify(tmp_path / "c.h5") == []
    picture = CliRunner().invoke(
        main, ["inspect", str(tmp_path / "c.h5"), "-o", str(tmp_path / "pictures")]
    )
    assert picture.exit_code == 0, picture.output
    with pytest.raises(UsageError, match=r"method must be one of superpixel, .*'neighbourhood'"):
        generate(data, tmp_path / "c.h5", Settings(**WIDE), jobs=1)


def test_a_worker_with_another_version_fails_its_cases(package):
    planned = Settings(**WIDE)
    case = factories.small_case()
    header = Header(planned.as_json({}), "f", case.classes, None, ())
    assert compute(case, header, planned).soft.band.any()
    package.install("1.1")
    with pytest.raises(CaseError, match=r"neighbourhood of softlabel-neighbourhood 1.0, and here"):
        compute(case, header, planned)
    package.uninstall()
    with pytest.raises(CaseError, match=r"method must be one of .*; got 'neighbourhood'"):
        compute(case, header, planned)


def test_a_setting_that_came_later_is_at_its_default_in_an_old_record(package):
    record = Settings(**WIDE).as_json({"format": "pairs"})
    old = json.dumps({n: v for n, v in json.loads(record).items() if n != "normalize"})
    assert settings_differences(old, record) == []
    other = Settings(**WIDE, normalize="sum").as_json({"format": "pairs"})
    assert settings_differences(old, other) == ["normalize: unset → sum"]
    assert recorded_settings(record) == json.loads(json.dumps(Settings(**WIDE).recorded()))
