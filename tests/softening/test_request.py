"""What soft labels are made by, checked before any array is touched."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest

import softlabel
from softlabel.softening import SoftenRequest


def test_it_has_every_argument_of_soften_but_the_arrays_with_the_same_defaults():
    of_function = {
        name: parameter.default
        for name, parameter in inspect.signature(softlabel.soften).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
        and name not in ("labels", "superpixels", "image", "mask", "device")
    }
    of_request = {f.name: f.default for f in fields(SoftenRequest) if f.name != "method_options"}
    assert of_request == of_function


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "blur"}, "method must be one of superpixel, gaussian"),
        (
            {"method": "svls", "method_options": {"blur": 2}},
            "The method svls has no option 'blur'; it has none",
        ),
        ({"normalize": "max"}, "normalize must be one of none, "),
        ({"scale": 0}, "scale must be a positive number; got 0"),
        ({"scale": float("nan")}, "scale must be a positive number; got nan"),
        ({"scale": np.inf}, "scale must be a positive number; got inf"),
        ({"boundary": "sharp"}, "boundary must be one of"),
        ({"method_options": {"blur": 2}}, "superpixel has no option 'blur'; it has: boundary, "),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        SoftenRequest(**options)


def test_one_unit_is_a_pixel_or_the_smallest_spacing():
    assert SoftenRequest().width(3) == 1
    assert SoftenRequest(spacing=(2.0, 0.5, 1.0)).width(3) == 0.5
    assert SoftenRequest(spacing=(2.0, 0.5, 1.0), scale=3).width(3) == 3


def test_classes_are_those_given_or_those_found():
    maps = [np.array([9, 4, 4]), np.array([2, 9, 9])]
    assert SoftenRequest(ignore=9).table(maps).values == (2, 4)
    assert SoftenRequest(classes=(1, 2)).table(maps).values == (1, 2)
    with pytest.raises(ValueError, match="labels hold only ignored pixels; give classes="):
        SoftenRequest(ignore=9).table([np.array([9, 9])])
