"""Who trains, who validates, who is evaluated: splits by patient.

A split never cuts through a patient, and the patients that choose the learning rate and the best
checkpoint come out of the training set, so that nothing is tuned on the evaluation set. The kind
``paper`` is the exception, and says so: it :func:`leaks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import UsageError
from softlabel.files.splits import read_split
from softlabel.ids import natural_key
from softlabel_train.config import SplitConfig


@dataclass(frozen=True)
class Split:
    """Case ids of each part, in natural order.

    Attributes
    ----------
    train, validation, evaluation : tuple of str
        Case ids.
    train_groups, validation_groups, evaluation_groups : tuple of str
        The patients they belong to.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    evaluation: tuple[str, ...]
    train_groups: tuple[str, ...]
    validation_groups: tuple[str, ...]
    evaluation_groups: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def group_parts(split: Split) -> dict[str, tuple[str, ...]]:
    """The patients of each part by its name."""
    return {
        "train": split.train_groups,
        "validation": split.validation_groups,
        "evaluation": split.evaluation_groups,
    }


LEAKS = (
    "leaks: the evaluated patients steer the learning rate and choose the best checkpoint, so that "
    "these are no scores of patients that the run has not seen"
)
"""What a run says of itself, and its tables of it."""


def leaks(parts: Mapping[str, Sequence[str]]) -> bool:
    """Whether a patient is evaluated who also validates or trains.

    Parameters
    ----------
    parts : mapping of str to sequence of str
        Patients of the parts train, validation and evaluation (:func:`group_parts`).

    Examples
    --------
    >>> leaks({"train": ["a"], "validation": ["b"], "evaluation": ["b"]})
    True
    """
    return not {*parts["train"], *parts["validation"]}.isdisjoint(parts["evaluation"])


def make_split(groups: Mapping[str, str], config: SplitConfig) -> Split:
    """Divide cases into training, validation and evaluation.

    Parameters
    ----------
    groups : mapping of str to str
        Patient of every case.
    config : SplitConfig

    Returns
    -------
    Split

    Raises
    ------
    UsageError
        When a part is empty, a patient is unknown, or a patient would be in two parts.

    Examples
    --------
    >>> groups = {f"{p}_{i}": p for p in ("s1", "s2", "s3", "s4") for i in (1, 2)}
    >>> split = make_split(groups, SplitConfig(kind="halves"))
    >>> split.train, split.validation_groups, split.evaluation_groups
    (('s1_1', 's1_2'), ('s2',), ('s3', 's4'))
    """
    patients = sorted(set(groups.values()), key=natural_key)
    if config.kind == "named":
        parts = {part: getattr(config, part) for part in PARTS}
        train, validation, evaluation = _named(groups, parts, "data.split")
    elif config.kind == "file":
        train, validation, evaluation = _of_file(groups, Path(str(config.file)), config.fold)
    else:
        evaluation = _DRAW[config.kind](patients, config)
        train = _others(patients, evaluation, config)
        validation = evaluation if config.kind == "paper" else []
    if not validation and config.held_out:
        if len(train) <= config.held_out:
            raise UsageError(
                f"The split leaves {len(train)} training patients, and data.split.held_out takes "
                f"{config.held_out} of them for validation; use more patients or a smaller "
                "held_out (0 validates on the training patients)."
            )
        train, validation = train[: -config.held_out], train[-config.held_out :]
    train, validation = (sorted(part, key=natural_key) for part in (train, validation))
    if not validation:
        validation = train
    for name, part in (("training", train), ("evaluation", evaluation)):
        if not part:
            raise UsageError(
                f"The {name} part of the split is empty: the data set has {len(patients)} "
                f"patients ({', '.join(patients[:8])}{', …' if len(patients) > 8 else ''}) and "
                f"data.split is {config.kind}. Choose another data.split."
            )
    cases = sorted(groups, key=natural_key)

    def of(part: Sequence[str]) -> tuple[str, ...]:
        return tuple(c for c in cases if groups[c] in part)

    return Split(
        of(train),
        of(validation),
        of(evaluation),
        tuple(train),
        tuple(validation),
        tuple(evaluation),
    )


def _others(patients: Sequence[str], evaluation: Sequence[str], config: SplitConfig) -> list[str]:
    """Patients that are not evaluated; the last ones are those that may be held out."""
    if config.kind != "rotate":
        return [p for p in patients if p not in evaluation]
    # those that follow the evaluated ones, in a circle: so each patient is held out in turn
    after = patients.index(evaluation[-1]) + 1
    circle = [*patients[after:], *patients[:after]]
    return [p for p in reversed(circle) if p not in evaluation]


def _halves(patients: Sequence[str], config: SplitConfig) -> list[str]:
    if config.fold > 1:
        raise UsageError(
            f"data.split.fold is {config.fold}; of halves it is 0, or 1 to swap the halves."
        )
    middle = (len(patients) + 1) // 2
    return list(patients[:middle] if config.fold else patients[middle:])


def _fold(patients: Sequence[str], config: SplitConfig) -> list[str]:
    if config.folds > len(patients):
        raise UsageError(
            f"data.split.folds is {config.folds} and there are {len(patients)} patients; use at "
            "most as many folds as patients."
        )
    order = np.random.default_rng(config.seed).permutation(len(patients))
    chosen = np.array_split(order, config.folds)[config.fold]
    return [patients[i] for i in sorted(chosen)]


def _random(patients: Sequence[str], config: SplitConfig) -> list[str]:
    if config.n_evaluation >= len(patients):
        raise UsageError(
            f"data.split.n_evaluation is {config.n_evaluation} and there are {len(patients)} "
            "patients; leave some to train."
        )
    order = np.random.default_rng(config.seed).permutation(len(patients))
    return [patients[i] for i in sorted(order[: config.n_evaluation])]


def _rotate(patients: Sequence[str], config: SplitConfig) -> list[str]:
    folds = -(-len(patients) // config.n_evaluation)
    if config.fold >= folds:
        raise UsageError(
            f"data.split.fold is {config.fold}, and with {config.n_evaluation} of {len(patients)} "
            f"patients evaluated in each, the folds are 0 to {folds - 1}."
        )
    first = config.fold * config.n_evaluation
    return list(patients[first : first + config.n_evaluation])


_DRAW = {
    "halves": _halves, "kfold": _fold, "random": _random, "rotate": _rotate, "paper": _random,
}  # fmt: skip


PARTS = ("train", "validation", "evaluation")


def _of_file(
    groups: Mapping[str, str], path: Path, fold: int
) -> tuple[list[str], list[str], list[str]]:
    """Patients of each part of a file.

    One with two parts, as nnU-Net writes it, has none that is there to choose a checkpoint: what it
    calls validation is evaluated, and the patients that validate are held out of the training ones.
    """
    parts = read_split(path, fold)
    if "evaluation" not in parts and "validation" in parts:
        parts["evaluation"] = parts.pop("validation")
    return _named(groups, parts, f"The split {path}")


def _named(
    groups: Mapping[str, str], parts: Mapping[str, Sequence[str]], source: str
) -> tuple[list[str], list[str], list[str]]:
    """Patients of each part; parts may also list cases, but never some of a patient's only."""
    part_of: dict[str, str] = {}
    named: dict[str, list[str]] = {}
    for part in PARTS:
        for name in parts.get(part, ()):
            members = [c for c, g in groups.items() if g == name or c == name]
            if not members:
                known = sorted(set(groups.values()), key=natural_key)
                raise UsageError(
                    f"{source} names {name!r} in its part {part}, which is neither a patient nor "
                    f"a case of the data; its patients are {', '.join(known[:20])}."
                )
            part_of |= dict.fromkeys(members, part)
    for case, part in part_of.items():
        patient = groups[case]
        others = {part_of.get(c, "none") for c, g in groups.items() if g == patient}
        if len(others) > 1:
            raise UsageError(
                f"{source} cuts through the patient {patient!r}: some of its cases are in "
                f"{' and some in '.join(sorted(others))}. List whole patients."
            )
        if patient not in named.setdefault(part, []):
            named[part].append(patient)
    train, validation, evaluation = (sorted(named.get(p, []), key=natural_key) for p in PARTS)
    return train, validation, evaluation
