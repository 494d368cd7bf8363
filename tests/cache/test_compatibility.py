"""A cache that softlabel 0.1.0 made opens, verifies and goes on with today's code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import factories
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from PIL import Image

from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.cli import main

KEPT = Path(__file__).parents[1] / "data" / "cache_0_1_0"


@pytest.fixture
def folder(tmp_path):
    """A copy whose files are of today, as after cloning the repository."""
    shutil.copytree(KEPT, tmp_path / "kept", copy_function=shutil.copyfile)
    return tmp_path / "kept"


def generate(folder, *options):
    """The command that made the cache (see the README beside it); what it reports."""
    result = CliRunner().invoke(
        main,
        ["generate", str(folder / "source"), "-o", str(folder / "cache.h5"), "--n-segments", "24",
         "-j", "1", "--classes", str(folder / "source/classes.json"), "--ignore", "9",
         "--spacing-mm", "0.5,0.75", "--json", *options],
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_values_are_those_of_the_files_and_of_the_formula():
    with open_cache(KEPT / "cache.h5") as cache:
        assert list(cache) == ["left", "right"] and cache.ignore == 9
        assert dict(cache.classes) == {0: "background", 128: "disc", 255: "core"}
        assert json.loads(cache.header.settings)["n_segments"] == 24
        for case_id, case in cache.items():
            image, labels = (
                np.asarray(Image.open(KEPT / "source" / kind / f"{case_id}.png"))
                for kind in ("images", "labels")
            )
            np.testing.assert_array_equal(case.image, image[np.newaxis])
            np.testing.assert_array_equal(case.labels, labels)
            assert case.spacing_mm == (0.5, 0.75)
            ids = np.asarray(case.superpixels)
            assert ids.max() + 1 == case.statistics["n_superpixels"]
            expected = reference.soften(labels, ids, cache.classes.values, ignore=9)
            np.testing.assert_allclose(case.soft, expected, atol=1e-6)
            assert ((expected > 0) & (expected < 1)).any()


def test_nothing_is_wrong_with_it():
    assert verify(KEPT / "cache.h5") == []


def test_it_is_found_finished_and_left_alone(folder):
    before = factories.files_of(folder / "cache.h5")
    report = generate(folder)
    assert (report["cases"], report["skipped"], report["complete"]) == (0, 2, True)
    assert factories.files_of(folder / "cache.h5") == before
    for path in (folder / "source").rglob("*.png"):
        os.utime(path, (0, 0))
    assert generate(folder)["skipped"] == 2, "the content decides, and not the time"


def test_a_lost_case_is_computed_anew_as_it_was(folder):
    cache = folder / "cache.h5"
    content = factories.read_everything(cache)
    factories.part(cache, "right").unlink()
    report = generate(folder)
    assert (report["cases"], report["skipped"], report["complete"]) == (1, 1, True)
    assert factories.same(factories.read_everything(cache), content)
    assert verify(cache) == []


def test_a_lost_index_is_rebuilt(folder):
    cache = folder / "cache.h5"
    content = factories.read_everything(cache)
    cache.unlink()
    assert CliRunner().invoke(main, ["index", str(cache)]).exit_code == 0
    assert factories.same(factories.read_everything(cache), content)
