"""The main job: a data set on disk becomes a cache."""

from softlabel.generation.networks import networks_for
from softlabel.generation.report import CaseReport, Report
from softlabel.generation.run import carry_out, estimate, generate
from softlabel.generation.settings import Settings

__all__ = ["CaseReport", "Report", "Settings", "carry_out", "estimate", "generate", "networks_for"]
