"""Validation while a network is trained: which classes are scored, and how well they do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.evaluate import cases_of_part
from softlabel_train.metrics import CLASS_SETS
from softlabel_train.predict import case_image, load_network, predict_probabilities
from softlabel_train.validation import scored_classes, scored_set

from softlabel.cache import open_cache
from softlabel.errors import UsageError

NAMES = {value: f"class {value}" for value in range(11)}


@pytest.mark.parametrize(
    ("chosen", "values"),
    [(None, range(1, 11)), ((2, 5), (2, 5)), ("mrbrains18", range(1, 9))],
)
def test_classes_are_all_but_the_background_or_those_that_were_chosen(chosen, values):
    assert scored_classes(chosen, NAMES) == {value: NAMES[value] for value in values}


def test_classes_that_the_data_do_not_have_are_refused():
    with pytest.raises(UsageError, match=r"label values \[77\], .*they have 0 \(class 0\), 1"):
        scored_classes((1, 77), NAMES)


def test_what_a_set_of_classes_excludes_is_excluded():
    classes = scored_classes("mrbrains18", NAMES)
    assert scored_set("mrbrains18", classes) == CLASS_SETS["mrbrains18"]
    assert CLASS_SETS["mrbrains18"].excluded and not scored_set((1, 2), {1: "a", 2: "b"}).excluded


def test_the_score_is_the_mean_dice_of_the_validation_cases(run, oct_cache):
    checkpoint = load_checkpoint(run / "best.pt")
    net = load_network(checkpoint, "best.pt", "cpu")
    means = []
    with open_cache(oct_cache) as cache:
        for case_id in cases_of_part(cache, checkpoint, "validation"):
            case = cache[case_id]
            p = predict_probabilities(net, case_image(case, checkpoint.intensity)).numpy()
            found, labels = p.argmax(0), case.labels[...]  # values of this cache are 0..9
            known = labels != cache.ignore
            dice = []
            for value in range(1, 10):
                both = np.stack([found == value, labels == value]) & known
                if both.any():
                    dice.append(2 * both.all(0).sum() / both.sum())
            means.append(np.mean(dice))
    assert len(means) == 3
    written = json.loads((run / "result.json").read_text())["best_score"]
    assert written == pytest.approx(np.mean(means), abs=1e-6)
