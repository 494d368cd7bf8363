"""``--preset auto``: what it becomes for a case, and what a cache records of it."""

from __future__ import annotations

import json
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import open_cache, pack_cache, rebuild_index, recover, unpack_cache
from softlabel.cache.describe import describe
from softlabel.cache.regroup import regrouped_part
from softlabel.cache.verify import verify
from softlabel.errors import CacheError
from softlabel.generation.case_superpixels import make_superpixels
from softlabel.generation.preset import preset_hint, resolution_record, resolved
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings, idle_settings

AUTO = Settings(preset="auto")


@pytest.mark.parametrize(
    ("shape", "size", "compactness", "sigma"),
    [
        ((496, 768), 95, 0.1, 2),
        ((256, 257), 95, 0.1, 2),
        ((256, 256), 16, 0.2, 0),
        ((120, 120), 16, 0.2, 0),
        ((120, 120, 1), 16, 0.2, 0),
        ((240, 240, 48), 27, 0.2, 0),
        ((9, 9, 2), 27, 0.2, 0),
    ],
)
def test_the_rule(shape, size, compactness, sigma):
    found = resolved(replace(AUTO, boundary="edge", n_segments=7, slic_dims="slice"), shape)
    assert found == Settings(
        superpixel_size=size, compactness=compactness, sigma=sigma, boundary="edge",
        channel_percentiles=(1, 99.5),
    )  # fmt: skip


def test_without_a_preset_settings_stay_what_they_are():
    settings = Settings(n_segments=7, slic_dims="slice")
    assert resolved(settings, (9, 9)) is settings
    assert resolution_record(settings, (9, 9)) == ""
    assert "preset" not in settings.as_json({}) and "preset" not in settings.recorded()


def test_what_the_preset_takes_over_is_not_recorded():
    record = json.loads(replace(AUTO, compactness=0.9, n_segments=3).as_json({}))
    assert record == {"preset": "auto"}
    assert Settings.from_json(json.dumps(record)) == AUTO
    assert idle_settings(AUTO)["sigma"] == ("preset",)
    assert idle_settings(replace(AUTO, superpixels="file"))["preset"] == ("superpixels",)
    assert "preset" not in replace(AUTO, method="gaussian").recorded()
    of_grid = json.loads(resolution_record(replace(AUTO, superpixels="grid"), (9, 9)))
    assert of_grid == {"slic_dims": "volume", "superpixel_size": 16}


def test_each_case_is_made_by_its_own_settings_and_records_them(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ["small"])
    factories.write_scene(data, "large", shape=(260, 270))
    report = generate(data, tmp_path / "c.h5", AUTO)
    assert report.complete
    with open_cache(tmp_path / "c.h5") as cache:
        facts = {case["id"]: case["superpixel_settings"] for case in describe(cache)["cases"]}
        for name, size, sigma in (("small", 16, 0), ("large", 95, 2)):
            case = cache[name]
            chosen = dict(case.superpixel_settings)
            assert (chosen["superpixel_size"], chosen["sigma"]) == (size, sigma)
            assert chosen["channel_percentiles"] == [1, 99.5] and facts[name] == chosen
            assert "superpixel_settings" not in case.statistics
            image = replace(factories.small_case(), image=case.image[...], labels=case.labels[...])
            by_hand = Settings(**chosen | {"channel_percentiles": (1, 99.5)})
            expected, asked = make_superpixels(image, by_hand)
            np.testing.assert_array_equal(case.superpixels[...], expected)
            assert case.statistics["n_superpixels_asked"] == asked
    assert verify(tmp_path / "c.h5") == []
    assert factories.computed(generate(data, tmp_path / "c.h5", AUTO)) == (0, 2)


def test_copies_keep_what_was_chosen(tmp_path):
    cache = factories.make_cache(tmp_path, settings=AUTO)
    with open_cache(cache) as opened:
        chosen = {name: dict(case.superpixel_settings) for name, case in opened.items()}
    assert chosen["a"]["superpixel_size"] == 16
    pack_cache(cache, tmp_path / "packed.h5")
    unpack_cache(tmp_path / "packed.h5", tmp_path / "again.h5")
    factories.part(cache, "a").write_bytes(regrouped_part(factories.part(cache, "a"), "other"))
    rebuild_index(cache, recover(cache))
    for path in (tmp_path / "packed.h5", tmp_path / "again.h5", cache):
        with open_cache(path) as opened:
            assert {n: dict(case.superpixel_settings) for n, case in opened.items()} == chosen
    with open_cache(cache) as opened:
        assert opened["a"].group == "other"


def test_without_a_preset_nothing_is_recorded(tmp_path):
    cache = factories.make_cache(tmp_path)
    with h5py.File(factories.part(cache, "a")) as file:
        assert "superpixel_settings" not in file["case"].attrs
    assert "preset" not in factories.settings_of(cache)
    with h5py.File(cache) as file:
        assert b"superpixel_settings" not in file["manifest/facts"][0]
    with open_cache(cache) as opened:
        assert dict(opened["a"].superpixel_settings) == {}


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"sigma": {"a": 1}}'])
def test_a_damaged_record_is_an_error(tmp_path, text):
    cache = factories.make_cache(tmp_path, settings=AUTO)
    with h5py.File(factories.part(cache, "a"), "r+") as file:
        file["case"].attrs["superpixel_settings"] = text
    with open_cache(cache, verify=False) as opened, pytest.raises(CacheError, match="damaged"):
        _ = opened["a"].superpixel_settings


def test_the_preset_is_named_where_the_defaults_look_wrong(tmp_path):
    """Superpixels of one pixel in a small image, and a small structure that is all soft."""
    data = factories.write_scenes(tmp_path / "data", "a")
    report = generate(data, tmp_path / "c.h5", Settings())
    (warning,) = [w for w in report.warnings if "too small to lie across a boundary" in w]
    assert "--preset auto chooses by the shape of each case" in warning
    assert not any("preset" in w for w in generate(data, tmp_path / "d.h5", AUTO).warnings)
    asked = generate(data, tmp_path / "e.h5", Settings(n_segments=1500))
    assert asked.warnings and not any("preset" in w for w in asked.warnings)


def test_structures_that_are_soft_as_a_whole_are_warned_of(tmp_path):
    data = tmp_path / "data"
    labels = np.zeros((300, 300), np.uint8)
    labels[40:280:16, 40:280:16] = 1  # single pixels, each within a superpixel
    image = np.random.default_rng(0).normal(100, 1, labels.shape).clip(0, 255).astype(np.uint8)
    for folder, values in (("images", image), ("labels", labels)):
        (data / folder).mkdir(parents=True)
        factories.Image.fromarray(values).save(data / folder / "a.png")
    report = generate(data, tmp_path / "c.h5", Settings())
    (warning,) = [w for w in report.warnings if "more pixels are softened than all classes" in w]
    assert "and 225)" in warning and "--preset auto" in warning


@pytest.mark.parametrize(
    "settings",
    [AUTO, Settings(n_segments=9), Settings(superpixel_size=9), Settings(compactness=0.2),
     Settings(superpixels="file")],
)  # fmt: skip
def test_the_preset_is_not_named_to_those_who_asked_for_something(settings):
    assert preset_hint(settings) == "" and preset_hint(Settings(boundary="edge"))


def test_methods_without_superpixels_get_no_advice_on_them(tmp_path):
    assert preset_hint(Settings()) and not preset_hint(Settings(method="gaussian"))
    source = factories.write_scenes(tmp_path / "data")
    settings = Settings(method="distance", method_options={"width": 200})
    report = generate(source, tmp_path / "c.h5", settings)
    assert report.softened_share > 0.5
    assert not any("superpixels" in warning for warning in report.warnings)
