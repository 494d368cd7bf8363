"""Sweeps: arms, pairing, resuming, the table and the plot."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from softlabel_train import sweep as module
from softlabel_train.arms import make_arms
from softlabel_train.config import EvaluateConfig
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import TrainingError
from softlabel_train.scores import MEAN, Score, with_class_means
from softlabel_train.sweep import (
    SweepResult,
    compare,
    superpixels_returned,
    sweep,
    sweep_tables,
)

import softlabel
from softlabel.console import drawing
from softlabel.errors import UsageError
from softlabel.phantom import write_mri_dataset

SMALL = ["train.steps=2", "train.pictures=0", "train.threads=1", "evaluate.bootstrap=50"]


def scores(values):
    """{(case, patient): dice} as scores."""
    return [
        Score("labels", case, patient, MEAN, metric, value)
        for (case, patient), value in values.items()
        for metric in ("dice", "hd95", "assd")
    ]


def test_arms_are_compared_with_the_first_by_patient_and_seed():
    arms = make_arms({"arm": ["hard", "soft"]})
    runs = {
        ("hard", 0): scores({("a1", "a"): 0.4, ("a2", "a"): 0.6, ("b1", "b"): 0.8}),
        ("soft", 0): scores({("a1", "a"): 0.6, ("a2", "a"): 0.6, ("b1", "b"): 0.7}),
        ("hard", 1): scores({("a1", "a"): 0.5, ("a2", "a"): 0.5, ("b1", "b"): 0.5}),
    }
    first, second = compare(arms, runs, {"hard": 100.0})
    key = ("labels", "dice")
    assert first.seeds == (0, 1) and second.seeds == (0,)
    assert first.values[key] == pytest.approx((0.6, 0.5))
    assert not first.differences
    # the second seed of the first arm has no partner yet
    difference = second.differences[key]
    assert (difference.pairs, difference.wins) == (2, 1)
    assert difference.mean == pytest.approx((0.1 - 0.1) / 2)
    assert first.n_superpixels == 100 and math.isnan(second.n_superpixels)


def test_without_the_first_arm_nothing_is_compared():
    arms = make_arms({"arm": ["hard", "soft", "other"]})
    runs = {
        ("soft", 0): scores({("a1", "a"): 0.6}),
        ("other", 0): scores({("a1", "a"): 0.7}),
    }
    assert [r.differences for r in compare(arms, runs, {})] == [{}, {}]


def test_distances_are_compared_over_what_both_arms_found():
    def run(distances):
        found = [
            Score("labels", case, "p", str(label), metric, value)
            for (case, label), d in distances.items()
            for metric, value in (("dice", 0.0 if math.isnan(d) else 0.9), ("hd95", d))
        ]
        return with_class_means(found)

    missed = float("nan")
    runs = {
        ("hard", 0): run({("c1", 1): 2.0, ("c1", 2): 10.0, ("c2", 1): 4.0}),
        ("soft", 0): run({("c1", 1): 3.0, ("c1", 2): missed, ("c2", 1): 4.0}),
    }
    hard, soft = compare(make_arms({"arm": ["hard", "soft"]}), runs, {})
    key = ("labels", "hd95")
    assert soft.values[key] == (3.5,) and hard.values[key] == (5.0,)
    assert soft.differences[key].mean == pytest.approx(0.5), "worse where both have a distance"
    assert (hard.left_out[key], soft.left_out[key]) == (0, 1)
    console = drawing.console(io.StringIO(), width=120, record=True)
    for table in sweep_tables(SweepResult((hard, soft), {}, False, "pixels", Path())):
        console.print(table)
    assert console.export_text().count("1 left out") == 1


def test_swept_generation_needs_a_source_and_seeds_are_listed(tmp_path):
    with pytest.raises(UsageError, match=r"generate\.n_segments is swept .*data\.source=FOLDER"):
        sweep("smoke", {"generate.n_segments": [1, 2]}, tmp_path, overrides=["data.cache=c.h5"])
    with pytest.raises(UsageError, match="listed as seed=0,1,2"):
        sweep("smoke", {"loss.beta": [1, 2]}, tmp_path, overrides=["seed=5"])


@pytest.mark.slow
def test_a_sweep_trains_resumes_and_compares(oct_data, tmp_path, monkeypatch):
    grid = {"generate.n_segments": [60, 150]}
    options = {
        "overrides": [*SMALL, f"data.source={oct_data}", f"data.cache_folder={tmp_path / 'caches'}",
                      "evaluate.against=[labels, truth]"],
        "seeds": (0, 1), "show": False,
    }  # fmt: skip
    lines: list[str] = []
    result = sweep("smoke", grid, tmp_path / "s", say=lines.append, **options)
    assert lines[0] == "run 1 of 4: generate.n_segments=60, seed 0" and len(lines) == 4
    assert len(list((tmp_path / "caches").glob("*.h5"))) == 2, "a cache for each number"
    first, second = result.arms
    assert first.seeds == second.seeds == (0, 1)
    assert second.n_superpixels > first.n_superpixels > 20
    assert second.differences["truth", "dice"].pairs == 4, "two patients, two seeds"
    with (tmp_path / "s" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    dice = next(r for r in rows if r["against"] == "truth" and r["metric"] == "dice")
    assert float(dice["mean"]) == pytest.approx(sum(first.values["truth", "dice"]) / 2)
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["failures"] == {}
    assert (tmp_path / "s" / "sweep.png").read_bytes().startswith(b"\x89PNG")

    # somebody scores a run in another way: its scores are no longer those of the sweep
    other = tmp_path / "s" / first.arm.folder / "seed_0"
    evaluate_run(other, config=EvaluateConfig(classes=(1,), bootstrap=50))
    again = sweep("smoke", grid, tmp_path / "s", **options)
    assert [a.values for a in again.arms] == [a.values for a in result.arms]
    monkeypatch.setattr(module, "evaluate_run", lambda *a, **k: pytest.fail("done already"))
    again = sweep("smoke", grid, tmp_path / "s", **options)
    assert [a.values for a in again.arms] == [a.values for a in result.arms]


@pytest.mark.slow
def test_folds_are_scored_together(oct_cache, tmp_path, monkeypatch):
    grid = {"loss.beta": [0, 1], "data.split.fold": [0, 1]}
    options = {"overrides": [*SMALL, f"data.cache={oct_cache}", "generate={}"], "show": False}
    result = sweep("smoke", grid, tmp_path / "s", **options)
    assert [a.arm.name for a in result.arms] == ["loss.beta=0", "loss.beta=1"]
    run = tmp_path / "s" / result.arms[1].arm.folder
    pooled = [
        s.value for fold in (0, 1) for s in evaluate_run(run / f"seed_0_fold_{fold}").scores
        if (s.label, s.metric) == (MEAN, "dice")
    ]  # fmt: skip
    assert len(pooled) == 12, "every B-scan of the four patients once"
    key = ("labels", "dice")
    assert result.arms[1].values[key] == pytest.approx((sum(pooled) / 12,))
    assert result.arms[1].differences[key].pairs == 4
    assert "folds 0, 1" in sweep_tables(result)[0].title

    # without one of its folds an arm would be scored on other patients than the rest
    real = module.fit

    def sometimes(recipe, folder, **rest):
        if recipe.loss.beta == 0 and recipe.data.split.fold == 1:
            raise TrainingError("no")
        return real(recipe, folder, **rest)

    monkeypatch.setattr(module, "fit", sometimes)
    again = sweep("smoke", grid, tmp_path / "s", **options)
    assert [a.arm.name for a in again.arms] == ["loss.beta=1"]
    assert list(again.failures) == ["loss.beta=0, seed 0, fold 1"]


def test_folds_of_a_split_without_any_are_refused(tmp_path):
    grid = {"data.split.fold": [0, 1]}
    with pytest.raises(UsageError, match=r"data\.split\.kind is random, which has no folds"):
        sweep("smoke", grid, tmp_path / "s", overrides=["data.split=random"])


@pytest.mark.slow
def test_arms_that_leak_say_so_in_every_table(oct_cache, tmp_path):
    grid = {"data.split.kind": ["random", "paper"]}
    overrides = [*SMALL, f"data.cache={oct_cache}", "generate={}"]
    result = sweep("smoke", grid, tmp_path / "s", overrides=overrides, show=False)
    assert [a.leaks for a in result.arms] == [False, True]
    console = drawing.console(io.StringIO(), width=150, record=True)
    for table in sweep_tables(result):
        console.print(table)
    text = console.export_text()
    assert "kind=paper (leaks)" in text and "leaks: the evaluated patients steer" in text
    assert "kind=random (leaks)" not in text
    with (tmp_path / "s" / "sweep.csv").open(newline="") as file:
        leaking = {(r["arm"], r["leaks"]) for r in csv.DictReader(file)}
    assert leaking == {("data.split.kind=random", "False"), ("data.split.kind=paper", "True")}


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others(oct_cache, tmp_path, monkeypatch):
    real = module.fit

    def sometimes(recipe, run, **options):
        if recipe.loss.beta == 2:
            raise TrainingError("The loss is not a number.")
        return real(recipe, run, **options)

    monkeypatch.setattr(module, "fit", sometimes)
    overrides = [*SMALL, f"data.cache={oct_cache}", "generate={}"]
    result = sweep("smoke", {"loss.beta": [1, 2]}, tmp_path, overrides=overrides, show=False)
    assert list(result.failures) == ["loss.beta=2, seed 0"]
    assert [a.arm.name for a in result.arms] == ["loss.beta=1"]


@pytest.mark.slow
def test_a_mistyped_second_sweep_erases_no_table(oct_cache, tmp_path, monkeypatch):
    grid = {"arm": ["hard", "superpixel"]}
    overrides = [*SMALL, f"data.cache={oct_cache}"]
    sweep("smoke", grid, tmp_path / "s", overrides=overrides, show=False)
    before = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=r"was started with loss\.beta=0\.0 and now has"):
        sweep("smoke", grid, tmp_path / "s", overrides=[*overrides, "loss.beta=0.5"], show=False)

    def fail(*args, **options):
        raise TrainingError("no")

    monkeypatch.setattr(module, "fit", fail)
    assert len(sweep("smoke", grid, tmp_path / "s", overrides=overrides, show=False).failures) == 2
    assert {p: p.read_bytes() for p in before} == before


def test_an_interrupted_sweep_keeps_what_it_has(oct_cache, tmp_path, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", stop)
    result = sweep("smoke", {"loss.beta": [1, 2]}, tmp_path, overrides=SMALL, show=False)
    assert result.interrupted and not result.arms
    assert json.loads((tmp_path / "sweep.json").read_text())["interrupted"] is True


def test_every_arm_is_checked_before_anything_is_trained(tmp_path):
    with pytest.raises(UsageError, match=r"loss\.beta"):
        sweep("smoke", {"loss.beta": [1, -1]}, tmp_path / "s")
    with pytest.raises(UsageError, match="the same"):
        sweep("smoke", {"loss.beta": [1, 1]}, tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name, by_slice", [("oct_cache", False), ("mri_cache", False),
                                            ("slices", True)])  # fmt: skip
def test_superpixels_are_counted_as_they_are_asked_for(name, by_slice, tmp_path, request):
    if by_slice:
        write_mri_dataset(tmp_path / "mri", n_subjects=1, seed=1, shape=(64, 64, 16))
        path = tmp_path / "mri.h5"
        settings = softlabel.Settings(n_segments=60, slic_dims="slice")
        softlabel.generate(tmp_path / "mri", path, settings)
    else:
        path = request.getfixturevalue(name)
    with softlabel.open_cache(path) as cache:
        counted = []
        for case in cache.values():
            ids = case.superpixels[...]
            images = np.moveaxis(ids, case.slice_axis, 0) if by_slice else [ids]
            counted.append(np.mean([len(np.unique(image[image >= 0])) for image in images]))
        assert superpixels_returned(cache) == pytest.approx(np.mean(counted))


def test_the_table_shows_deviation_and_difference(capsys):
    arms = make_arms({"loss.beta": [0.5, 1.0]})
    runs = {
        (arm.name, seed): scores({("a1", "a"): 0.5 + 0.1 * i, ("b1", "b"): 0.6 + 0.1 * seed})
        for i, arm in enumerate(arms)
        for seed in (0, 1)
    }
    result = SweepResult(tuple(compare(arms, runs, {})), {}, False, "mm", None)
    for table in sweep_tables(result):
        drawing.console(sys.stdout, width=120).print(table)
    text = capsys.readouterr().out
    assert "±" in text and "+0.0500" in text and "2 of 4" in text
    assert "\\u000a" not in text, "line ends in a cell are meant"
