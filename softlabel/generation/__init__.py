"""The main job: a data set on disk becomes a cache."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softlabel.generation.check import Check as Check
    from softlabel.generation.check import check_dataset as check_dataset
    from softlabel.generation.failures import read_failures as read_failures
    from softlabel.generation.networks import networks_for as networks_for
    from softlabel.generation.preset import resolved as resolved
    from softlabel.generation.report import CaseReport as CaseReport
    from softlabel.generation.report import Report as Report
    from softlabel.generation.run import ESTIMATE_ATTEMPTS as ESTIMATE_ATTEMPTS
    from softlabel.generation.run import carry_out as carry_out
    from softlabel.generation.run import decide as decide
    from softlabel.generation.run import estimate as estimate
    from softlabel.generation.run import generate as generate
    from softlabel.generation.settings import Settings as Settings
    from softlabel.generation.settings import recorded_settings as recorded_settings

# Imported on first use: who only wants the settings of a cache need not load every reader.
_PLACES = {
    "ESTIMATE_ATTEMPTS": "run",
    "Check": "check",
    "check_dataset": "check",
    "CaseReport": "report",
    "Report": "report",
    "Settings": "settings",
    "carry_out": "run",
    "decide": "run",
    "estimate": "run",
    "generate": "run",
    "networks_for": "networks",
    "read_failures": "failures",
    "recorded_settings": "settings",
    "resolved": "preset",
}

__all__ = [
    "ESTIMATE_ATTEMPTS",
    "CaseReport",
    "Check",
    "Report",
    "Settings",
    "carry_out",
    "check_dataset",
    "decide",
    "estimate",
    "generate",
    "networks_for",
    "read_failures",
    "recorded_settings",
    "resolved",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'softlabel.generation' has no attribute {name!r}")
    value = getattr(import_module(f"softlabel.generation.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
