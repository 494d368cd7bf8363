"""What is remembered of a label map comes back as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softlabel.readers.labelfacts import label_facts
from softlabel.readers.look import LabelLook
from softlabel.types import Note


@pytest.mark.parametrize(
    "look",
    [
        LabelLook(label_facts(np.array([[0, 1, 1]]))),
        LabelLook(
            label_facts(np.zeros((2, 3, 4), int)),
            palette=((0, 0, 0), (255, 10, 3)),
            names={3: "größter", -1: "none"},
            spacing_mm=(0.5, 0.25, 1.0),
            one_hot=True,
            axes_known=False,
            notes=(Note("slope", "a slope"),),
        ),
    ],
    ids=["the least", "everything"],
)
def test_through_json(look):
    found = LabelLook.from_record(json.loads(json.dumps(look.as_record())))
    assert found == (look if look.names else LabelLook(look.facts, names={}))


@pytest.mark.parametrize(
    "change",
    [
        {"facts": {}},
        {"facts": [1, 2]},
        {"facts": {"shape": [1]}},
        {"palette": 3},
        {"names": [1]},
        {"notes": [{"told": "by whom"}]},
    ],
    ids=str,
)
def test_a_record_of_something_else(change):
    look = LabelLook(label_facts(np.array([[0, 1, 1]])))
    with pytest.raises((KeyError, TypeError, ValueError)):
        LabelLook.from_record(look.as_record() | change)
    with pytest.raises(KeyError):
        LabelLook.from_record({})


@pytest.mark.parametrize("values", [["0", "1"], [0.0, 1.0], [None, 1], "01"], ids=str)
def test_values_that_are_no_whole_numbers(values):
    record = json.loads(json.dumps(LabelLook(label_facts(np.array([[0, 1, 1]]))).as_record()))
    record["facts"]["values"] = values
    with pytest.raises(TypeError, match="integer"):
        LabelLook.from_record(record)
