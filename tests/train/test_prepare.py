"""The cache that a recipe asks for: found or generated, and refused when it does not fit."""

from __future__ import annotations

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from factories import QUICK, inodes_of, write_scenes
from softlabel_train.config import load_recipe
from softlabel_train.loop import fit
from softlabel_train.prepare import find_cache, generated_path, open_data

from softlabel import Settings, generate
from softlabel.cache import open_cache
from softlabel.errors import CacheError, UsageError

from .factories import recipe_for, spoil_bscan


@pytest.mark.parametrize("override, what", [
    ("data.classes=4", r"has 10 classes and the recipe smoke expects 4"),
    ("data.channels=3", r"has 1 channels and the recipe smoke expects 3"),
    ("data.split={kind: kfold, folds: 9}", "folds is 9 and there are 4 patients"),
    ("data.crop=[8, 8, 8]", "2 spatial axes"),
    ("evaluate.window=[64]", r"evaluate\.window is \[64\] .* 2 spatial axes; give 2 numbers"),
    ("augment.flip=[2]", r"augment\.flip names the axis 2 .* axes, 0 to 1"),
    ("evaluate.flips=[0, 2]", r"evaluate\.flips names the axis 2 .* axes, 0 to 1"),
    ("evaluate.against=[labels, grader9]", r"'grader9', which .* has labels, truth, automatic"),
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
    path = find_cache(recipe).path
    assert path == generated_path(recipe) and len(open_cache(path)) == 12
    before = inodes_of(path)
    assert find_cache(recipe).path == path
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
    data = open_data(recipe_for(oct_cache, "generate={preset: auto}"), oct_cache)
    assert "made with n_segments=120; the recipe says preset=auto" in data.warnings[0]
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


@pytest.fixture
def spoilt(oct_data, tmp_path):
    """A copy of the phantoms, and a recipe that flattens them."""
    shutil.copytree(oct_data, tmp_path / "data")
    recipe = [f"data.source={tmp_path / 'data'}", f"data.cache={tmp_path / 'c.h5'}",
              "generate={n_segments: 120, flatten: pixel}"]  # fmt: skip
    return tmp_path / "data", recipe


def test_a_case_without_a_retina_is_left_out_and_moves_no_patient(spoilt, oct_cache):
    data, options = spoilt
    case = spoil_bscan(data, 1, 1)
    recipe = load_recipe("smoke", options)
    found = find_cache(recipe)
    (left_out,) = found.left_out
    assert (left_out.id, left_out.patient) == (case, "Subject_01")
    assert "step flatten: no retina" in left_out.reason
    training = open_data(recipe, found.path, found.left_out)
    whole = open_data(recipe_for(oct_cache), oct_cache)
    assert training.left_out == found.left_out
    assert training.split == replace(
        whole.split, train=tuple(c for c in whole.split.train if c != case)
    )
    assert len(training.split.train) == 2
    (told,) = [text for text in training.warnings if "left out" in text]
    assert told.startswith(f"1 case could not be computed and is left out. {case}: ")
    assert find_cache(recipe).left_out == found.left_out, "another try finds the same"


def test_a_patient_without_any_case_still_has_its_part(spoilt):
    data, options = spoilt
    for number in range(3):
        spoil_bscan(data, 2, number)
    options.append("data.split={kind: named, train: [Subject_01, Subject_02], held_out: 0, "
                   "evaluation: [Subject_03, Subject_04]}")  # fmt: skip
    recipe = load_recipe("smoke", [*options, "data.may_fail=0.25"])
    found = find_cache(recipe)
    training = open_data(recipe, found.path, found.left_out)
    assert training.split.train_groups == ("Subject_01", "Subject_02")
    assert {c[:10] for c in training.split.train} == {"Subject_01"}
    with open_cache(found.path) as cache:
        expected = np.asarray(cache.statistics["Subject_01"]["class_pixels"])
    np.testing.assert_array_equal(training.class_pixels, expected)
    halves = load_recipe("smoke", [*options[:-1], "data.may_fail=0.25"])  # Subject_02 validates
    with pytest.raises(UsageError, match=r"^No validation case could be computed, first of all "):
        open_data(halves, found.path, found.left_out)


def test_a_cache_that_is_given_says_what_it_lacks(spoilt):
    data, _ = spoilt
    case = spoil_bscan(data, 1, 1)
    path = data.parent / "given.h5"
    generate(data, path, Settings(n_segments=120, preprocess_options={"flatten": "pixel"}))
    recipe = recipe_for(path)
    (left_out,) = find_cache(recipe).left_out
    assert (left_out.id, left_out.patient) == (case, None)
    assert "step flatten: no retina" in left_out.reason
    training = open_data(recipe, path, (left_out,))
    assert case in training.warnings[-1] and len(training.split.train) == 2
    path.with_suffix(".failed.tsv").write_bytes(b"\xff")
    assert not find_cache(recipe).left_out


def test_too_many_failed_cases_are_refused(spoilt):
    data, options = spoilt
    spoil_bscan(data, 1, 0)
    spoil_bscan(data, 1, 2)
    recipe = load_recipe("smoke", options)
    with pytest.raises(UsageError, match=r"^2 of the 12 cases of .* data\.may_fail, now 0\.1, is"):
        find_cache(recipe)
    allowed = load_recipe("smoke", [*options, "data.may_fail=0.17"])
    found = find_cache(allowed)
    assert len(found.left_out) == 2
    assert len(open_data(allowed, found.path, found.left_out).split.train) == 1


def test_of_the_evaluated_cases_no_larger_share_may_fail(spoilt):
    data, options = spoilt
    spoil_bscan(data, 3, 0)
    recipe = load_recipe("smoke", options)
    found = find_cache(recipe)  # one of twelve, but one of six that are evaluated
    with pytest.raises(UsageError, match=r"^1 of the 6 cases that smoke evaluates could not be"):
        open_data(recipe, found.path, found.left_out)
    allowed = load_recipe("smoke", [*options, "data.may_fail=0.2"])
    assert len(open_data(allowed, found.path, found.left_out).split.evaluation) == 5


def test_an_earlier_result_of_a_case_that_fails_now_is_not_trained_on(spoilt):
    data, options = spoilt
    recipe = load_recipe("smoke", options)
    find_cache(recipe)
    spoil_bscan(data, 1, 1)
    found = find_cache(recipe)
    assert len(found.left_out) == 1
    with pytest.raises(UsageError, match="has an earlier result of Subject_01_"):
        open_data(recipe, found.path, found.left_out)


def test_raters_are_drawn_where_there_are_several(oct_cache, rater_cache):
    drawn = ("data.raters=sample", "loss.beta=0")
    with pytest.raises(UsageError, match="was made of one; generate it with --raters"):
        open_data(recipe_for(oct_cache, *drawn), oct_cache)
    assert open_data(recipe_for(rater_cache, *drawn), rater_cache).cache.raters
