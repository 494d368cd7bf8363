"""What a run would do, without doing it."""

from __future__ import annotations

import shutil

import pytest
from softlabel_train.config import load_recipe
from softlabel_train.dryrun import dry_run
from softlabel_train.prepare import find_cache

from softlabel.errors import UsageError
from softlabel.phantom import write_oct_dataset

from .factories import call, recipe_for, spoil_bscan


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def recipe(oct_data, tmp_path):
    return load_recipe(
        "smoke", [f"data.source={oct_data}", f"data.cache={tmp_path / 'c.h5'}",
                  "generate={n_segments: 100, denoise: tv, flatten: pixel}"]
    )  # fmt: skip


def test_the_steps_of_a_missing_cache_are_timed_and_nothing_is_written(recipe, tmp_path):
    found = dry_run(recipe, tmp_path / "run")
    assert (found.cache, found.to_compute, found.cases) == (tmp_path / "c.h5", 12, 12)
    assert list(found.sample.step_seconds) == ["denoise", "flatten"]
    assert 0 < sum(found.sample.step_seconds.values()) < found.sample.seconds
    assert not everything_in(tmp_path) and found.split is None


def test_of_a_complete_cache_the_patients_are_told(recipe, tmp_path):
    find_cache(recipe)
    before = everything_in(tmp_path)
    found = dry_run(recipe, tmp_path / "run")
    assert (found.to_compute, found.cases, found.sample) == (0, 12, None)
    assert found.split.evaluation_groups == ("Subject_03", "Subject_04")
    assert everything_in(tmp_path) == before


def test_what_would_end_the_run_is_an_error(oct_cache, tmp_path):
    for override, sentence in (
        ("data.classes=3", "has 10 classes"),
        ("evaluate.classes=[77]", "77"),
        ("model.architecture=unett", "unett"),
    ):
        with pytest.raises(UsageError, match=sentence):
            dry_run(recipe_for(oct_cache, override), tmp_path / "run")
    with pytest.raises(UsageError, match="does not exist"):
        dry_run(recipe_for(tmp_path / "none.h5"), tmp_path / "run")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="something else than a run"):
        dry_run(recipe_for(oct_cache), tmp_path)


IMPOSSIBLE_SPLITS = (
    ("{kind: file, file: none.csv}", "none.csv cannot be read"),
    ("{kind: named, train: [Subject_01], validation: [nobody], evaluation: [Subject_03]}",
     "names 'nobody' in its part validation"),
    ("{kind: random, n_evaluation: 4}", "there are 4 patients"),
)  # fmt: skip


@pytest.mark.parametrize(("split", "sentence"), IMPOSSIBLE_SPLITS)
def test_a_split_of_a_missing_cache_is_checked_before_any_case(oct_data, tmp_path, split, sentence):
    options = (f"data.cache={tmp_path / 'c.h5'}", f"data.source={oct_data}", "generate={}",
               f"data.split={split}", "-o", tmp_path / "run")  # fmt: skip
    for dry in (("--dry-run",), ()):
        done = call("fit", "smoke", *options, *dry)
        assert done.exit_code == 2 and sentence in done.output, done.output
        assert not everything_in(tmp_path)


def test_a_split_file_that_names_nobody_is_refused(recipe, tmp_path):
    file = tmp_path / "split.csv"
    file.write_text("case,part\nSubject_01,train\nSubject_09_bscan_000,val\n")
    data = recipe.data.model_copy(
        update={"split": recipe.data.split.model_copy(update={"kind": "file", "file": str(file)})}
    )
    with pytest.raises(UsageError, match="names 'Subject_09_bscan_000' in its part evaluation"):
        dry_run(recipe.model_copy(update={"data": data}), tmp_path / "run")


def test_patients_whose_parts_are_in_the_cache_are_known(recipe, oct_data, tmp_path):
    """A cache keeps the cases of a patient who has left the data set, and fit divides them."""
    find_cache(recipe)
    data = shutil.copytree(oct_data, tmp_path / "data")
    (data / "Subject_04.mat").unlink()
    less = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": str(data)})})
    whole = dry_run(recipe, tmp_path / "run").split
    assert dry_run(less, tmp_path / "run").split == whole


@pytest.mark.parametrize(
    ("annotated", "may_fail", "sentence"),
    [(3, 0.1, "5 of the 6 cases of"), (1, 1, "None of the 2 cases of")],
)
def test_a_data_set_of_which_too_many_cases_fail_is_refused(
    tmp_path, annotated, may_fail, sentence
):
    data = tmp_path / "data"
    write_oct_dataset(data, n_subjects=2, shape=(224, 144, 4), n_annotated=annotated)
    for subject in (1, 2):
        for number in range(annotated):
            spoil_bscan(data, subject, number)
    done = call("fit", "smoke", f"data.source={data}", f"data.cache={tmp_path / 'c.h5'}",
                "generate={n_segments: 100, flatten: pixel}", f"data.may_fail={may_fail}",
                "data.split.held_out=0", "-o", tmp_path / "run", "--dry-run")  # fmt: skip
    assert done.exit_code == 2, done.output
    assert sentence in done.output and "no retina" in done.output


def test_fit_dry_run(oct_data, oct_cache, tmp_path):
    options = ("generate={n_segments: 100, flatten: pixel}", "-o", tmp_path / "run", "--dry-run")
    result = call("fit", "smoke", *options, "--source", oct_data, "--cache", tmp_path / "c.h5",
                  "--jobs", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'c.h5'} lacks 12 of 12 cases. From Subject_01_bscan_000 (" in result.output
    assert " with 2 workers, " in result.output
    assert "Of that the steps before superpixels take about" in result.output
    assert f"Then 6 steps of 4 images in {tmp_path / 'run'}." in result.output
    result = call("fit", "smoke", "generate={}", *options[1:], "--cache", oct_cache)
    assert f"{oct_cache} has its 12 cases; patients: train Subject_01, validation" in result.output
    assert not (tmp_path / "run").exists()
