"""The cache that a recipe asks for: found or generated, and refused when it does not fit."""

from __future__ import annotations

import shutil
from dataclasses import replace

import h5py
import pytest
from factories import QUICK, inodes_of, write_scenes
from softlabel_train.config import load_recipe
from softlabel_train.loop import fit
from softlabel_train.prepare import find_cache, generated_path, open_data

from softlabel import generate
from softlabel.cache import open_cache
from softlabel.errors import CacheError, UsageError

from .factories import recipe_for


@pytest.mark.parametrize("override, what", [
    ("data.classes=4", r"has 10 classes and the recipe smoke expects 4"),
    ("data.channels=3", r"has 1 channels and the recipe smoke expects 3"),
    ("data.split={kind: kfold, folds: 9}", "folds is 9 and there are 4 patients"),
    ("data.crop=[8, 8, 8]", "2 spatial axes"),
    ("evaluate.window=[64]", r"evaluate\.window is \[64\] .* 2 spatial axes; give 2 numbers"),
    ("augment.flip=[2]", r"augment\.flip names the axis 2 .* axes, 0 to 1"),
    ("evaluate.classes=[77]", r"label values \[77\], which the data do not have"),
    ("generate={method: gaussian}", r"method superpixel and the recipe asks for .*gaussian"),
    ("train.devices=3", "batch_size is 4, which 3 processes"),
    ("train.precision=16-mixed", "needs CUDA"),
    ("model.architecture=unetplus", "no architecture 'unetplus'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(oct_cache, tmp_path, override, what):
    with pytest.raises(UsageError, match=what):
        fit(recipe_for(oct_cache, override), tmp_path / "run", show=False)


def test_a_damaged_cache_names_the_file(oct_cache, tmp_path):
    shutil.copy(oct_cache, tmp_path / "oct.h5")
    shutil.copytree(oct_cache.with_suffix(".parts"), tmp_path / "oct.parts")
    with open_cache(tmp_path / "oct.h5") as cache:
        data = open_data(recipe_for(tmp_path / "oct.h5"), tmp_path / "oct.h5")
        path = cache[data.split.train[0]].path
    with h5py.File(path, locking=False) as file:
        offset = file["case/soft"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 20] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CacheError, match=path.name):
        fit(recipe_for(tmp_path / "oct.h5", "data.crop=null"), tmp_path / "run", show=False)


def test_the_cache_is_generated_when_it_is_missing(oct_data, tmp_path):
    recipe = load_recipe(
        "smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}",
                  "generate.n_segments=50"]
    )  # fmt: skip
    path = find_cache(recipe)
    assert path == generated_path(recipe) and len(open_cache(path)) == 12
    before = inodes_of(path)
    assert find_cache(recipe) == path
    assert inodes_of(path) == before, "nothing is computed again"
    other = load_recipe(
        "smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}", "arm=gaussian"]
    )
    assert generated_path(other) != path
    with pytest.raises(UsageError, match="names no data"):
        find_cache(load_recipe("smoke"))
    with pytest.raises(UsageError, match="does not exist"):
        find_cache(load_recipe("smoke", ["data.cache=nowhere.h5"]))


def test_settings_that_differ_are_told(oct_cache):
    data = open_data(recipe_for(oct_cache, "generate={n_segments: 99}"), oct_cache)
    assert data.warnings and "n_segments=120; the recipe says 99" in data.warnings[0]
    data = open_data(recipe_for(oct_cache, "generate={superpixel_size: 60}"), oct_cache)
    assert len(data.warnings) == 1
    assert "made with n_segments=120; the recipe says superpixel_size=60" in data.warnings[0]
    assert not open_data(recipe_for(oct_cache), oct_cache).warnings


def test_groups_that_were_forgotten_are_told_until_they_are_given(tmp_path):
    data = tmp_path / "data"
    for patient in (1, 2, 3):
        write_scenes(data, [f"p{patient}_slice{number}" for number in (1, 2)])
    cache = tmp_path / "c.h5"
    generate(data, cache, QUICK)
    recipe = recipe_for(cache)
    (told,) = [text for text in open_data(recipe, cache).warnings if "--group" in text]
    assert "6 cases look like parts of 3" in told and "would share patients" in told
    generate(data, cache, QUICK, format_options={"group": "(p.)_"})
    assert not open_data(recipe, cache).warnings


def test_a_cache_that_could_not_be_finished_is_not_trained_on(oct_data, tmp_path, monkeypatch):
    from softlabel_train import prepare

    real = prepare.generate

    def half(*arguments, **options):
        report = real(*arguments, **options, limit=2)
        return replace(report, remaining=10, warnings=("A worker died.",))

    monkeypatch.setattr(prepare, "generate", half)
    recipe = load_recipe("smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}"])
    with pytest.raises(UsageError, match=r"10 cases remain\. A worker died\."):
        find_cache(recipe)
