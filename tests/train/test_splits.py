"""Splits by patient."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from softlabel_train.config import SplitConfig
from softlabel_train.splits import group_parts, leaks, make_split

from softlabel.errors import UsageError

TEN = {f"Subject_{p:02d}_bscan_{b:03d}": f"Subject_{p:02d}" for p in range(1, 11) for b in (10, 25)}


def test_the_published_split_of_oct_dme():
    split = make_split(TEN, SplitConfig(kind="halves"))
    assert split.train_groups == tuple(f"Subject_{p:02d}" for p in range(1, 5))
    assert split.validation_groups == ("Subject_05",)
    assert split.evaluation_groups == tuple(f"Subject_{p:02d}" for p in range(6, 11))
    assert len(split.train) == 8 and len(split.evaluation) == 10


def test_the_halves_can_be_swapped():
    split = make_split(TEN, SplitConfig(kind="halves", fold=1))
    assert split.evaluation_groups == tuple(f"Subject_{p:02d}" for p in range(1, 6))
    assert split.validation_groups == ("Subject_10",)
    assert split.train_groups == tuple(f"Subject_{p:02d}" for p in range(6, 10))
    with pytest.raises(UsageError, match="fold is 2; of halves it is 0, or 1"):
        make_split(TEN, SplitConfig(kind="halves", fold=2))


SEVEN = {name: name for name in ("1", "4", "5", "7", "14", "070", "148")}


def test_the_split_of_the_paper_leaks_and_no_other():
    split = make_split(SEVEN, SplitConfig(kind="paper", seed=3))
    assert len(split.train) == 5 and len(split.evaluation) == 2
    assert split.validation == split.evaluation
    assert set(split.train) | set(split.evaluation) == set(SEVEN)
    assert leaks(group_parts(split))
    same = make_split(SEVEN, SplitConfig(kind="random", seed=3))
    assert same.evaluation == split.evaluation, "drawn alike"
    for kind in ("halves", "kfold", "random", "rotate"):
        for held_out in (0, 1):
            honest = make_split(SEVEN, SplitConfig(kind=kind, held_out=held_out))
            assert not leaks(group_parts(honest))


@pytest.mark.parametrize("n_evaluation, folds", [(1, 7), (2, 4), (3, 3)])
def test_rotation_evaluates_every_scan_once_and_holds_out_another(n_evaluation, folds):
    parts = [
        make_split(SEVEN, SplitConfig(kind="rotate", n_evaluation=n_evaluation, fold=fold))
        for fold in range(folds)
    ]
    evaluated = [p for split in parts for p in split.evaluation_groups]
    assert evaluated == ["1", "4", "5", "7", "14", "070", "148"], "in natural order"
    held_out = [split.validation_groups for split in parts]
    assert all(len(p) == 1 for p in held_out) and len(set(held_out)) == folds
    for split in parts:
        everyone = (*split.train_groups, *split.validation_groups, *split.evaluation_groups)
        assert sorted(everyone) == sorted(SEVEN), "a patient is in one part"
    with pytest.raises(UsageError, match=f"the folds are 0 to {folds - 1}"):
        make_split(SEVEN, SplitConfig(kind="rotate", n_evaluation=n_evaluation, fold=folds))


@given(
    st.integers(4, 30),
    st.sampled_from(["halves", "kfold", "random", "rotate"]),
    st.integers(0, 2),
    st.integers(0, 99),
)
def test_no_patient_is_in_two_parts(n, kind, fold, seed):
    groups = {f"c{i}": f"p{i % n}" for i in range(3 * n)}
    fold = min(fold, 1) if kind == "halves" else fold
    split = make_split(
        groups, SplitConfig(kind=kind, folds=3, fold=fold, seed=seed, n_evaluation=1)
    )
    parts = [set(split.train_groups), set(split.validation_groups), set(split.evaluation_groups)]
    assert sum(map(len, parts)) == n == len(set.union(*parts))
    assert sorted(split.train + split.validation + split.evaluation) == sorted(groups)
    assert all(groups[c] in parts[0] for c in split.train)
    assert len(parts[1]) == 1


def test_folds_cover_every_patient_once():
    groups = {f"c{i}": f"p{i}" for i in range(7)}
    parts = [
        make_split(groups, SplitConfig(kind="kfold", folds=3, fold=f)).evaluation_groups
        for f in range(3)
    ]
    assert sorted(p for part in parts for p in part) == sorted(groups.values())


def test_named_patients_and_named_cases():
    split = make_split(TEN, SplitConfig(kind="named", train=("Subject_02", "Subject_01"),
                                        evaluation=("Subject_09",)))  # fmt: skip
    assert (split.train_groups, split.validation_groups) == (("Subject_01",), ("Subject_02",))
    cases = tuple(c for c, g in TEN.items() if g in ("Subject_01", "Subject_02"))
    same = make_split(TEN, SplitConfig(kind="named", train=cases, evaluation=("Subject_09",)))
    assert same == split


def test_held_out_zero_validates_on_the_training_patients():
    split = make_split(TEN, SplitConfig(held_out=0))
    assert split.validation == split.train


@pytest.mark.parametrize("config, what", [
    ({"kind": "named", "train": ("Subject_01_bscan_010",), "evaluation": ("Subject_02",)},
     "cuts through the patient 'Subject_01': some of its cases are in none and some in train"),
    ({"kind": "named", "train": ("Subject_01_bscan_010",), "evaluation": ("Subject_01_bscan_025",)},
     "in evaluation and some in train"),
    ({"kind": "named", "train": ("Subject_99",)}, "'Subject_99' in its part train, which is"),
    ({"kind": "named", "train": ("Subject_01", "Subject_02")}, "evaluation part .* is empty"),
    ({"kind": "kfold", "folds": 11}, "folds is 11 and there are 10 patients"),
    ({"kind": "random", "n_evaluation": 10}, "leave some to train"),
    ({"held_out": 5}, "leaves 5 training patients, and data.split.held_out takes 5"),
])  # fmt: skip
def test_impossible_splits_are_refused(config, what):
    with pytest.raises(UsageError, match=what):
        make_split(TEN, SplitConfig(**config))


def test_a_single_patient_cannot_be_split():
    with pytest.raises(UsageError, match="held_out"):
        make_split({"a": "p"}, SplitConfig())
    with pytest.raises(UsageError, match="evaluation part of the split is empty"):
        make_split({"a": "p"}, SplitConfig(held_out=0))


def test_a_file_of_nnunet_trains_on_its_cases_and_scores_the_others(tmp_path):
    path = tmp_path / "splits_final.json"
    cases = {n: [c for c, g in TEN.items() if g == f"Subject_0{n}"] for n in range(1, 6)}
    folds = [
        {"train": [*cases[1], *cases[2], *cases[3]], "val": cases[4]},
        {"train": [*cases[4], *cases[5]], "val": cases[1]},
    ]
    path.write_text(json.dumps(folds))
    first = make_split(TEN, SplitConfig(kind="file", file=str(path)))
    assert first.train_groups == ("Subject_01", "Subject_02")
    assert first.validation_groups == ("Subject_03",), "held out of those that train"
    assert first.evaluation == tuple(cases[4])
    second = make_split(TEN, SplitConfig(kind="file", file=str(path), fold=1))
    assert second.evaluation_groups == ("Subject_01",)


def test_a_table_names_patients_of_three_parts(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("patient,part\nSubject_01,train\nSubject_02,val\nSubject_03,test\n")
    found = make_split(TEN, SplitConfig(kind="file", file=str(path)))
    assert group_parts(found) == {
        "train": ("Subject_01",), "validation": ("Subject_02",), "evaluation": ("Subject_03",),
    }  # fmt: skip
    path.write_text("patient,part\nSubject_01,train\nSubject_77,test\n")
    with pytest.raises(UsageError, match=r"split\.csv names 'Subject_77' in its part evaluation"):
        make_split(TEN, SplitConfig(kind="file", file=str(path)))
    with pytest.raises(ValueError, match=r"needs `file`, the path of a \.json or \.csv"):
        SplitConfig(kind="file")
