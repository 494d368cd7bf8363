"""Softening methods side by side: how soft, how near to a truth, soft where raters disagree?"""

from softlabel.comparison.cases import Comparison, compare_case
from softlabel.comparison.raters import RaterArea, RaterReport, against_raters
from softlabel.comparison.scores import Scores, roc_area, score_maps

__all__ = [
    "Comparison",
    "RaterArea",
    "RaterReport",
    "Scores",
    "against_raters",
    "compare_case",
    "roc_area",
    "score_maps",
]
