"""Bridges to other programs: what they keep is read, and what they need is laid beside it."""

from softlabel.bridges.nnunet_prepare import PrepareReport, prepare
from softlabel.bridges.nnunet_prepared import Prepared, load_prepared, trainer_folder

__all__ = ["PrepareReport", "Prepared", "load_prepared", "prepare", "trainer_folder"]
