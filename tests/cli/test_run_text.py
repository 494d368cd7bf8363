"""What a run tells a person."""

from __future__ import annotations

from dataclasses import fields, replace

import factories
import pytest

from softlabel.cli.run_text import (
    class_sentence,
    own_words,
    plan_sentence,
    print_end,
    print_failures,
)
from softlabel.generation.plan import plan
from softlabel.generation.report import Report
from softlabel.readers import list_dataset
from softlabel.types import ClassTable


@pytest.fixture
def decided(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    return plan(list_dataset(data), factories.QUICK, tmp_path / "c.h5")


def with_classes(decided, values, ignore=None):
    table = ClassTable.from_values(values)
    return replace(decided, header=replace(decided.header, classes=table, ignore=ignore))


def test_a_plan_counts_its_cases_and_no_more_workers_than_cases(decided):
    assert plan_sentence(decided, 8) == "3 to compute; 3 workers."
    assert plan_sentence(decided, 1) == "3 to compute; 1 worker."


@pytest.mark.parametrize(
    ("values", "ignore", "asked"),
    [
        ((0, 1, 2, 255), None, True),
        ((0, 1, 2, 255), 255, False),
        ((0, 128, 255), None, False),  # grey levels are classes
        ((0, 255), None, False),
    ],
)
def test_255_beside_small_values_is_asked_about(decided, values, ignore, asked):
    sentence = class_sentence(with_classes(decided, values, ignore), recorded=False)
    assert ("If 255 means 'not annotated': --ignore 255." in sentence) == asked


def test_a_long_table_is_cut(decided):
    sentence = class_sentence(with_classes(decided, range(30)), recorded=True)
    assert sentence.startswith("30 classes, recorded when the cache was made: 0, 1, ")
    assert "19, … (" in sentence and "20" not in sentence


def test_a_reason_without_its_case():
    assert own_words("a", "a (images/a.png): is torn.") == "is torn."
    assert own_words("a", "a: is torn.") == "is torn."
    assert own_words("a+", "aa: is torn.") == "aa: is torn."


def report(**changes) -> Report:
    nothing = {f.name: 0 for f in fields(Report)} | {"failures": {}, "warnings": (), "stopped": ""}
    return Report(**nothing | {"cases": 2, "skipped": 1, "remaining": 4} | changes)


def test_cases_that_fail_for_one_reason_are_listed_once(tmp_path, capsys):
    failures = {f"s{i}": f"s{i} (s{i}.png): has no pixels." for i in range(7)} | {
        "x": "x: is torn."
    }
    print_failures(report(failures=failures), tmp_path / "c.h5")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "8 cases failed:",
        "  7 cases (s0, s1, s2, s3, s4, …): has no pixels.",
        "  x: x: is torn.",
    ]


def test_an_early_end_says_how_to_go_on(capsys):
    print_end(report(), overwrite=False)
    assert capsys.readouterr().err == ""
    print_end(report(interrupted=True), overwrite=True)
    assert capsys.readouterr().err.splitlines() == [
        "Interrupted.",
        "3 cases finished and kept, 4 remain; run the same command again without --overwrite to "
        "go on.",
    ]
