"""``softlabel-train init``: a recipe that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from softlabel_train.config import generation_settings, load_recipe
from softlabel_train.fingerprint import Fingerprint
from softlabel_train.init import recipe_text

from softlabel.generation.preset import PERCENTILES, resolved, rule_of
from softlabel.generation.settings import OF_PRESET, Settings
from softlabel.phantom import write_ct_dataset, write_oct_dataset
from softlabel.types import Dataset

from ..factories import call


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "ct"
    write_ct_dataset(folder, n_subjects=3, seed=1, shape=(48, 48, 32))
    return folder


def test_the_recipe_states_what_was_seen(ct, tmp_path):
    out = tmp_path / "ct.yaml"
    done = call("init", ct, "-o", out, "-q")
    assert done.exit_code == 0, done.output
    recipe = load_recipe(out)
    assert recipe.data.source == ct.resolve().as_posix() and recipe.data.format == "nnunet"
    assert recipe.data.classes == 105 and recipe.data.crop == (48, 48, 32)
    assert recipe.evaluate.window == recipe.data.crop
    assert recipe.generate["preprocess_options"]["window"] == [-160, 240]
    assert "superpixels" not in done.output, "the check finds them neither too small nor too large"
    assert recipe.data.split.n_evaluation == 1
    assert yaml.safe_load(out.read_text())["base"] == "ct"
    assert "median 48 × 48 × 32" in out.read_text() and "1 spleen" in out.read_text()
    again = call("init", ct, "-o", out, "-q")
    assert again.exit_code == 2 and "--overwrite" in again.output
    assert call("init", ct, "-o", out, "-q", "--overwrite").exit_code == 0


def facts_of(*shape):
    return Fingerprint(5, 5, ((0, "background"), (1, "liver")), ("MR",), shape, None, False)


@pytest.mark.parametrize("shape", [(48, 48, 32), (1, 120, 120)])
def test_superpixels_of_volumes_are_those_of_the_preset(shape):
    dataset = Dataset("nifti", Path("scans"), "", ())
    values = yaml.safe_load(recipe_text("own", dataset, facts_of(*shape), 8))
    rule = rule_of(shape)
    written = values["generate"]
    assert [written[name] for name in ("superpixel_size", "compactness", "sigma")] == [
        rule.superpixel_size, rule.compactness, rule.sigma
    ]  # fmt: skip
    assert tuple(written["channel_percentiles"]) == PERCENTILES


@pytest.mark.parametrize("name", ["generic_3d", "ct"])
def test_the_shipped_recipes_of_volumes_have_them_too(name):
    found = generation_settings(load_recipe(name).generate)
    preset = resolved(Settings(preset="auto"), (48, 48, 32))
    assert [getattr(found, name) for name in OF_PRESET] == [
        getattr(preset, name) for name in OF_PRESET
    ]


@pytest.mark.slow
def test_the_recipe_trains_and_is_scored(ct, tmp_path):
    out, run = tmp_path / "ct.yaml", tmp_path / "run"
    assert call("init", ct, "-o", out, "-q").exit_code == 0
    small = ("model.options={deep_supervision: true, filters: [4, 6, 8, 8, 8]}", "train.steps=2",
             "train.epoch_steps=1", "train.pictures=0", "data.workers=0", "train.precision=32-true",
             f"data.cache_folder={tmp_path}")  # fmt: skip
    done = call("fit", out, *small, "-o", run, "-q")
    assert done.exit_code == 0, done.output
    scored = call("evaluate", run)
    assert scored.exit_code == 0, scored.output


def test_images_get_the_recipe_for_images(tmp_path):
    write_oct_dataset(tmp_path / "oct", n_subjects=2, shape=(224, 128, 2), n_annotated=2)
    done = call("init", tmp_path / "oct", "grader=2", "-o", tmp_path / "own.yml", "-q")
    assert done.exit_code == 0, done.output
    values = yaml.safe_load((tmp_path / "own.yml").read_text())
    assert values["base"] == "generic_2d" and "crop" not in values["data"]
    assert values["data"]["format_options"]["grader"] == "2"
    assert "split" not in values["data"] and "`fit` refuses" in (tmp_path / "own.yml").read_text()
    assert load_recipe(tmp_path / "own.yml").model.encoder == "resnet34"


def test_what_is_wrong_is_said(ct, tmp_path):
    for arguments, words in (
        (("nothing-here",), "does not exist"),
        ((ct, "-o", tmp_path / "a.txt"), "must end in .yaml"),
        ((ct, "regions"), "key=value"),
        ((ct, "colour=red"), "colour"),
        ((ct, "--group", "(s.)"), "without dashes here: group=VALUE."),
        ((ct, "--row-base=1"), "without dashes here: row_base=VALUE."),
        ((ct, "--colour"), "No such option"),
    ):
        done = call("init", *arguments, "-q")
        assert done.exit_code == 2 and words in done.output, done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "told"), [({"group": None}, True), ({"grader": 1}, False)])
def test_how_to_group_cases_is_told_where_the_format_can(options, told):
    dataset = Dataset("nifti", Path("scans"), "", (), options=options)
    text = recipe_text("own", dataset, replace(facts_of(48, 48, 32), patients=2), 8)
    assert "`fit` refuses" in text and ("init SOURCE group=REGEX" in text) is told
