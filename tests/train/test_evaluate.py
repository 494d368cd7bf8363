"""Evaluation and prediction of a trained run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from softlabel_train import evaluate as evaluate_module
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.evaluate import cases_of_part, evaluate_run
from softlabel_train.metrics import SURFACES, evaluate
from softlabel_train.predict import (
    case_image,
    load_network,
    predict_probabilities,
)
from softlabel_train.scores import scores_from_csv

from softlabel.cache import open_cache
from softlabel.errors import UsageError


def test_scores_are_those_of_the_metrics(run, oct_cache):
    found = evaluate_run(run)
    assert found.unit == "mm"
    cache = open_cache(oct_cache)
    checkpoint = load_checkpoint(run / "best.pt")
    net = load_network(checkpoint, "best.pt", "cpu")
    evaluated = {s.case for s in found.scores}
    assert {cache[c].group for c in evaluated} == {"Subject_03", "Subject_04"}
    case = cache[sorted(evaluated)[0]]
    p = predict_probabilities(net, case_image(case, checkpoint.intensity)).numpy()
    pred = p.argmax(0)  # label values of this cache are 0..9
    labels, truth = case.labels[...].astype(int), case.truth[...].astype(int)
    truth[labels == cache.ignore] = cache.ignore
    for against, target in (("labels", labels), ("truth", truth)):
        expected = evaluate(pred, target, range(1, 10), case.spacing_mm, ignore=cache.ignore)
        for value, name in list(cache.classes)[1:]:
            for metric, number in expected[value].items():
                mine = [s.value for s in found.scores if (s.against, s.case, s.label, s.metric)
                        == (against, case.id, name, metric)]  # fmt: skip
                assert mine == pytest.approx([number], nan_ok=True)
    calibration = {s.metric for s in found.scores if s.label == "all"}
    assert calibration == {"brier", "ece", "brier_boundary", "ece_boundary"}


def test_scores_are_written_as_csv_and_json(run):
    found = evaluate_run(run)
    back = scores_from_csv((found.folder / "cases.csv").read_text())
    assert len(back) == len(found.scores)
    content = json.loads((found.folder / "scores.json").read_text())
    assert content["part"] == "evaluation" and content["unit"] == "mm"
    assert {s["against"] for s in content["summary"]} == {"labels", "truth", "grader2"}
    dice = next(s for s in found.summary if (s.label, s.metric) == ("mean", "dice"))
    assert dice.cases == 6 and math.isnan(dice.low), "two patients are too few for an interval"


def test_parts_are_those_of_the_run_whatever_the_cache_has(run, oct_cache, tmp_path):
    checkpoint = load_checkpoint(run / "best.pt")
    with open_cache(oct_cache) as cache:
        groups = {case_id: cache[case_id].group for case_id in cache}
        assert {groups[c] for c in cases_of_part(cache, checkpoint, "evaluation")} == set(
            checkpoint.split["evaluation"]
        )
        with pytest.raises(UsageError, match="no patient that the run has not seen"):
            cases_of_part(cache, checkpoint, "new")
        trained_before = {"train": ("p1",), "validation": ("p2",), "evaluation": ("p3", "p4")}
        elsewhere = replace(checkpoint, split=trained_before)
        with pytest.raises(UsageError, match=r"none of the run's evaluation patients \(p3, p4\).*"
                           "--part new scores them"):  # fmt: skip
            cases_of_part(cache, elsewhere, "evaluation")
        assert cases_of_part(cache, elsewhere, "new") == list(groups)
    # one of two evaluated patients is not in this cache: the other is, and no trained one joins it
    split = dict(checkpoint.split) | {"evaluation": (*checkpoint.split["evaluation"][:1], "gone")}
    with open_cache(oct_cache) as cache:
        found = cases_of_part(cache, replace(checkpoint, split=split), "evaluation")
    assert {groups[c] for c in found} == set(split["evaluation"][:1])


def test_a_checkpoint_is_as_good_as_its_folder(run):
    config = load_checkpoint(run / "best.pt").recipe.evaluate.model_copy(update={"bootstrap": 0})
    assert evaluate_run(run / "best.pt", config=config).folder == run / "evaluation"


def test_other_parts_checkpoints_and_settings(run):
    config = load_checkpoint(run / "last.pt").recipe.evaluate.model_copy(
        update={"unit": "pixel", "against": ("labels",), "bootstrap": 0}
    )
    found = evaluate_run(run, checkpoint="last.pt", part="validation", config=config)
    assert found.unit == "pixels" and found.folder.name == "evaluation_validation"
    assert all(math.isnan(s.low) for s in found.summary)
    with pytest.raises(UsageError, match="evaluation, validation, train, new; got 'test'"):
        evaluate_run(run, part="test")
    missing = config.model_copy(update={"against": ("grader9",)})
    with pytest.raises(UsageError, match=r"'grader9'.*it has labels, truth, automatic, grader2"):
        evaluate_run(run, config=missing)


def test_a_cache_of_other_classes_or_images_is_refused(run, pairs_cache, mri_cache):
    with pytest.raises(UsageError, match=r"label values \[0, 128, 255\]"):
        evaluate_run(run, cache=pairs_cache)


def test_volumes_in_windows_by_two_conventions(mri_run):
    config = load_checkpoint(mri_run / "best.pt").recipe.evaluate
    one, two = (
        {(s.case, s.label, s.metric): s.value for s in evaluate_run(mri_run, config=c).scores}
        for c in (
            config.model_copy(update={"convention": ("mrbrains18-slices", "medpy", "medpy")}),
            config.model_copy(update={"convention": "medpy"}),
        )
    )
    for (case, label, metric), value in two.items():
        named = f"{metric} (medpy)" if metric in SURFACES else metric
        assert one[case, label, named] == pytest.approx(value, nan_ok=True)
    assert len(one) == len(two) + sum(metric in SURFACES for _, _, metric in two)
    differ = [k for k in one if k[2] == "hd95" and one[k] != one[k[0], k[1], "hd95 (medpy)"]]
    assert any(math.isfinite(one[k]) for k in differ)


def test_mirror_images_are_predicted_where_the_recipe_asks_for_them(run, monkeypatch):
    seen = []

    def once(net, image, **options):
        seen.append(options["flips"])
        return predict_probabilities(net, image, **options)

    monkeypatch.setattr(evaluate_module, "predict_probabilities", once)
    config = load_checkpoint(run / "last.pt").recipe.evaluate
    quick = {"against": ("labels",), "bootstrap": 0}
    plain = evaluate_run(
        run, checkpoint="last.pt", part="validation", config=config.model_copy(update=quick)
    )
    mirrored = evaluate_run(
        run, checkpoint="last.pt", part="validation",
        config=config.model_copy(update=quick | {"flips": (0, 1)}),
    )  # fmt: skip
    assert set(seen) == {(), (0, 1)}
    assert [s.value for s in plain.scores] != [s.value for s in mirrored.scores]
