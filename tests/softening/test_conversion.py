"""Conversions against their formulas and what all of them share."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softlabel
from softlabel.softening.conversion import CONVERSIONS

FORMULAS = {
    "eq1": lambda d, s: 0.5 * (d / (s + abs(d)) + 1),
    "probit": lambda d, s: NormalDist(0, s).cdf(d),
    "logistic": lambda d, s: 1 / (1 + math.exp(-d / s)),
}


@pytest.mark.parametrize("name", CONVERSIONS)
@given(d=st.floats(-50, 50), scale=st.floats(0.1, 20))
def test_equals_its_formula(name, d, scale):
    assert CONVERSIONS[name](np.array([d]), scale)[0] == pytest.approx(
        FORMULAS[name](d, scale), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("name", CONVERSIONS)
@given(d=st.floats(0, 200), scale=st.floats(0.1, 20))
def test_both_sides_sum_to_one_and_meet_at_a_half(name, d, scale):
    inside, outside, middle = CONVERSIONS[name](np.array([d, -d, 0.0]), scale)
    assert inside + outside == pytest.approx(1, abs=1e-12)
    assert outside <= middle == 0.5 <= inside


def test_worked_values():
    labels, one = np.array([1, 1, 1, 1, 1, 0, 0, 0]), np.zeros(8, int)
    soft = softlabel.soften(labels, one, boundary="symmetric", conversion="probit").dense()[1]
    cdf = NormalDist().cdf
    np.testing.assert_allclose(soft, [cdf(d) for d in (5, 4, 3, 2, 1, -1, -2, -3)], atol=1e-7)


@pytest.mark.parametrize("method", ["superpixel", "distance"])
def test_an_unknown_one_is_refused(method):
    with pytest.raises(ValueError, match="conversion must be one of eq1, probit, logistic"):
        softlabel.soften(np.array([0, 1]), np.zeros(2, int), method=method, conversion="linear")
