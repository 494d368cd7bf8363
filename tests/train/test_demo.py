"""Train and evaluate from nothing to the table, on OCT and on MRI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from softlabel_train.config import load_recipe, recipe_arms
from softlabel_train.demo import MRI, OCT, Size, demonstrate, draw_phantoms, what_it_is

from softlabel.errors import UsageError

QUICK = ["train.steps=2", "evaluate.bootstrap=0", "train.pictures=0"]
IN_PATCHES = ["data.crop=[32, 32, 16]", "evaluate.window=[32, 32, 16]", "data.batch_size=2"]
SIZES = {
    OCT.name: Size("smoke", 80, {"n_subjects": 4, "n_annotated": 2, "shape": (224, 144, 2)}),
    MRI.name: Size("smoke", 80, {"n_subjects": 4, "shape": (64, 64, 16)}),
}


def with_arms_of_smoke(demo):
    """Arms of the same meaning under shorter names."""
    return replace(demo, arms=("hard", "superpixel"))


@pytest.mark.slow
@pytest.mark.parametrize("demo, overrides", [(OCT, []), (MRI, IN_PATCHES)], ids=["oct", "mri"])
def test_a_demonstration_goes_from_nothing_to_the_table(demo, overrides, tmp_path):
    for _ in range(2):
        result = demonstrate(
            with_arms_of_smoke(demo), tmp_path, size=SIZES[demo.name], show=False,
            overrides=[*QUICK, *overrides], say=lambda text: None,
        )  # fmt: skip
    assert [a.arm.name for a in result.arms] == ["hard", "superpixel"]
    assert {against for against, _ in result.arms[0].values} == {"labels", "truth"}
    assert not result.failures


@pytest.mark.slow
def test_real_oct_is_scored_against_the_other_grader(oct_data, tmp_path):
    result = demonstrate(
        with_arms_of_smoke(OCT), tmp_path, data=oct_data, size=SIZES[OCT.name], show=False,
        overrides=[*QUICK, "generate.n_segments=80"], say=lambda text: None,
    )  # fmt: skip
    assert not result.failures
    assert {against for against, _ in result.arms[0].values} == {"labels", "grader2"}
    assert not (tmp_path / "phantoms").exists()


def test_phantoms_of_another_size_are_not_taken(tmp_path):
    folder, lines = tmp_path / "phantoms", []
    for _ in range(2):
        draw_phantoms(MRI, folder, SIZES[MRI.name], lines.append)
    assert lines == [f"drawing 4 phantom patients into {folder}"], "once"
    with pytest.raises(UsageError, match="holds phantoms of another size"):
        draw_phantoms(MRI, folder, MRI.small, lines.append)


@pytest.mark.parametrize("demo", [OCT, MRI], ids=["oct", "mri"])
def test_a_demonstration_is_its_recipe_made_small(demo):
    assert set(demo.arms) <= set(recipe_arms(demo.full.recipe))
    full, small = (load_recipe(size.recipe, arm=demo.arms[1]) for size in (demo.full, demo.small))
    assert small.loss == full.loss and small.data.split == full.data.split
    steps = [dict(recipe.generate["preprocess_options"]) for recipe in (full, small)]
    assert steps[1].items() <= steps[0].items(), "small voxels would make small scans large"
    assert {*steps[0]} - {*steps[1]} <= {"resample_mm"}
    rest = [{**recipe.generate, "preprocess_options": None} for recipe in (full, small)]
    assert rest[0] == rest[1] and small.data.batch_size <= full.data.batch_size
    # a superpixel of a phantom has as many pixels as one of a scan
    sizes = [s.phantoms["shape"][0] * s.phantoms["shape"][1] / s.n_segments
             for s in (demo.full, demo.small)]  # fmt: skip
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("data", [None, Path("scans")])
@pytest.mark.parametrize("demo", [OCT, MRI], ids=["oct", "mri"])
def test_the_table_says_what_it_is(demo, data):
    for size in (demo.small, demo.full):
        text = what_it_is(demo, size, data, range(2), ["train.steps=7"])
        assert f"{size.recipe}, 7 steps, 2 seeds" in text
        assert ("synthetic" in text) == (data is None) and "reproduc" not in text.lower()
        assert "scans" in text or data is None
    assert "not evidence" in what_it_is(demo, demo.full, None, [0])
    assert "no results of the published setting" in what_it_is(demo, demo.small, Path("x"), [0])
