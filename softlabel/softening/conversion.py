"""What a signed distance to a boundary says of a label: the conversions by name.

    eq1       q = ½ (d / (s + |d|) + 1)        Eq. 1 of Li et al. (2020)
    probit    q = Φ(d / s)                     Φ the normal distribution function
    logistic  q = 1 / (1 + exp(−d / s))

All are ½ at d = 0 and grow with d. At d = s they are 0.75, 0.841 and 0.731. ``eq1`` falls off
slowly: a pixel ten scales away keeps 0.045 of the other side. ``probit`` is what an annotator
whose boundaries have a Gaussian error of standard deviation s makes of a straight boundary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from softlabel.types import Array


def _eq1(signed: Array, scale: float) -> Array:
    return np.asarray(0.5 * (signed / (scale + np.abs(signed)) + 1.0))


def _probit(signed: Array, scale: float) -> Array:
    from scipy.special import ndtr

    return np.asarray(ndtr(signed / scale))


def _logistic(signed: Array, scale: float) -> Array:
    from scipy.special import expit

    return np.asarray(expit(signed / scale))


CONVERSIONS: dict[str, Callable[[npt.NDArray[np.float64], float], Array]] = {
    "eq1": _eq1,
    "probit": _probit,
    "logistic": _logistic,
}
"""(signed distances, positive inside of the class; scale) -> soft labels, both float64."""

EQ1 = "eq1"
"""The default."""


def check_conversion(conversion: str) -> None:
    """Refuse an unknown conversion by a ValueError.

    Examples
    --------
    >>> check_conversion("probit")
    >>> check_conversion("linear")
    Traceback (most recent call last):
    ValueError: conversion must be one of eq1, probit, logistic; got 'linear'.
    """
    if conversion not in CONVERSIONS:
        raise ValueError(f"conversion must be one of {', '.join(CONVERSIONS)}; got {conversion!r}.")
