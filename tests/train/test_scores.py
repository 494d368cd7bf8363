"""Means, intervals over patients, paired differences, tables."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from softlabel_train.scores import (
    MEAN,
    Score,
    as_csv,
    as_json,
    better,
    bootstrap_interval,
    by_patient,
    paired_difference,
    scores_from_csv,
    summarise,
    tables,
    with_class_means,
)

from softlabel.console import drawing

NAN = float("nan")


def scores_of(table):
    """{(case, patient, label): (dice, hd95)} as scores."""
    return [
        Score("labels", case, patient, label, metric, value)
        for (case, patient, label), values in table.items()
        for metric, value in zip(("dice", "hd95"), values, strict=True)
    ]


TABLE = {
    ("a1", "a", "x"): (0.8, 2.0), ("a1", "a", "y"): (0.0, NAN),  # y on one side only
    ("a2", "a", "x"): (0.6, 4.0), ("a2", "a", "y"): (NAN, NAN),  # y nowhere
    ("b1", "b", "x"): (1.0, 0.0), ("b1", "b", "y"): (0.5, 6.0),
}  # fmt: skip


def test_means_tell_what_was_left_out():
    found = {(s.label, s.metric): s for s in summarise(with_class_means(scores_of(TABLE)))}
    assert found["x", "dice"].mean == pytest.approx(0.8) and found["x", "dice"].cases == 3
    y = found["y", "hd95"]
    assert (y.mean, y.cases, y.left_out) == (6.0, 1, 1), "absent from both is not left out"
    assert (found["y", "dice"].cases, found["y", "dice"].left_out) == (2, 0)
    mean = found[MEAN, "dice"]
    assert mean.mean == pytest.approx(np.mean([0.4, 0.6, 0.75]))


def test_intervals_resample_patients_with_all_their_cases():
    rng = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(8)], 10)
    level = np.repeat(rng.normal(0, 1, 8), 10)
    values = level + rng.normal(0, 0.01, 80)
    low, high = bootstrap_interval(values.tolist(), patients.tolist(), 4000)
    standard_error = level[::10].std(ddof=0) / math.sqrt(8)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    independent = bootstrap_interval(values.tolist(), [str(i) for i in range(80)], 4000)
    assert independent[1] - independent[0] < (high - low) / 2
    assert bootstrap_interval(values.tolist(), patients.tolist(), 4000) == (low, high)


def test_intervals_are_percentiles_of_the_means_of_resamples():
    """Written out: patients are drawn with all their cases, however many those are."""
    rng = np.random.default_rng(1)
    patients = ["a"] * 5 + ["b"] * 1 + ["c"] * 3 + ["d"] * 2 + ["e"] * 7
    values = rng.normal(size=len(patients))
    means = []
    for _ in range(20_000):
        drawn = rng.choice(list("abcde"), 5)
        means.append(
            np.mean([v for d in drawn for v, p in zip(values, patients, strict=True) if p == d])
        )
    found = bootstrap_interval(values.tolist(), patients, 20_000)
    assert found == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.02)


def test_few_patients_have_no_interval_however_many_their_cases():
    values = [0.1, 0.9, 0.3, 0.4, 0.5, 0.6]
    assert all(math.isnan(x) for x in bootstrap_interval(values, list("aabbcd")))
    assert not any(math.isnan(x) for x in bootstrap_interval(values, list("aabcde")))
    assert all(math.isnan(x) for x in bootstrap_interval(values, list("aabcde"), 0))


def test_paired_differences_by_patient_and_seed():
    first = {("a", 0): 0.5, ("a", 1): 0.6, ("b", 0): 0.7, ("c", 0): NAN, ("d", 0): 0.1}
    second = {("a", 0): 0.6, ("a", 1): 0.5, ("b", 0): 0.9, ("c", 0): 0.9}
    found = paired_difference(first, second)
    assert (found.pairs, found.wins) == (3, 2)
    assert found.mean == pytest.approx((0.1 - 0.1 + 0.2) / 3)
    assert math.isnan(found.low), "two patients are too few"
    first |= {(patient, 0): 0.1 for patient in "defg"}
    second |= {(patient, 0): 0.2 for patient in "defg"}
    found = paired_difference(first, second)
    assert found.low <= found.mean <= found.high
    assert paired_difference(first, {}).pairs == 0


def test_csv_comes_back_and_json_knows_no_nan():
    scores = scores_of(TABLE)
    back = scores_from_csv(as_csv(scores).decode())
    assert all(
        a == b or (math.isnan(a.value) and math.isnan(b.value) and a.case == b.case)
        for a, b in zip(scores, back, strict=True)
    )
    content = json.loads(as_json({"unit": "mm"}, summarise(scores)))
    assert content["unit"] == "mm" and content["summary"][0]["metric"] == "dice"
    assert "NaN" not in as_json({}, summarise(scores)).decode()


def test_means_by_patient():
    assert by_patient(scores_of(TABLE), "labels", "x", "dice") == pytest.approx(
        {"a": 0.7, "b": 1.0}
    )


def test_the_table_shows_means_intervals_and_what_was_left_out():
    summary = summarise(with_class_means(scores_of(TABLE)))
    text = io.StringIO()
    for table in tables(summary, "mm"):
        drawing.console(text, width=120).print(table)
    assert "distances in mm" in text.getvalue()
    assert "6.00 (1 left out)" in text.getvalue() and "0.800" in text.getvalue()
    assert "\\u000a" not in text.getvalue(), "line ends in a cell are meant"


def test_every_further_convention_has_a_table_of_its_surfaces():
    scores = [
        Score("labels", "c", "p", "1", metric, value)
        for metric, value in (("dice", 0.5), ("hd95", 2.0), ("hd95 (medpy)", 3.25))
    ]
    text = io.StringIO()
    first, second = tables(summarise(with_class_means(scores)), "mm")
    for table in (first, second):
        drawing.console(text, width=120).print(table)
    assert second.title == "against labels, surfaces by medpy (mm)"
    assert [c.header for c in second.columns] == ["class", "HD95", "ASD", "ASSD", "NSD"]
    assert text.getvalue().count("3.25") == 2 and text.getvalue().count("2.00") == 2
    assert better("hd95 (medpy)", -1) and better("nsd (medpy)", 1)


def test_the_mean_over_classes_says_what_its_classes_left_out():
    nan = float("nan")
    scores = [
        Score("labels", case, case, label, metric, value)
        for case, label, dice, hd95 in (
            ("a", "1", 0.9, 1.0), ("a", "2", 0.0, nan), ("b", "1", 0.9, 3.0), ("b", "2", nan, nan),
        )
        for metric, value in (("dice", dice), ("hd95", hd95))
    ]  # fmt: skip
    found = {(s.label, s.metric): s for s in summarise(with_class_means(scores), resamples=0)}
    assert found["2", "hd95"].left_out == 1, "b has the class nowhere"
    assert found[MEAN, "hd95"].left_out == 1 and found[MEAN, "hd95"].mean == 2
    assert found[MEAN, "dice"].left_out == 0
