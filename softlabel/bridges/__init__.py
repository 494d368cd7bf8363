"""Bridges to other programs: what they keep is read, and what they need is laid beside it."""

from softlabel.bridges.dense import ARRAYS, Classes, affine_of, dense_array
from softlabel.bridges.nnunet_prepare import PrepareReport, prepare
from softlabel.bridges.nnunet_prepared import Prepared, load_prepared, trainer_folder
from softlabel.bridges.outside import swap_background, swap_ids

__all__ = [
    "ARRAYS", "Classes", "PrepareReport", "Prepared", "affine_of", "dense_array", "load_prepared",
    "prepare", "swap_background", "swap_ids", "trainer_folder",
]  # fmt: skip
