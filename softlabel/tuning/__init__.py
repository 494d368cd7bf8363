"""Superpixel settings for a data set: tried on some of its cases, measured, recommended."""

from softlabel.tuning.advice import Advice, advise
from softlabel.tuning.fit import Fit, Trial
from softlabel.tuning.rows import Row
from softlabel.tuning.sweep import Grid, LookedAt, Tuning, tune

__all__ = ["Advice", "Fit", "Grid", "LookedAt", "Row", "Trial", "Tuning", "advise", "tune"]
