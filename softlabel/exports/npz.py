"""NumPy's ``.npz``: every array of a case by its name, nothing pickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.exports.case import NOT_CALIBRATED, ExportedCase
from softlabel.exports.format import ExportOptions, Format
from softlabel.files.atomic import publish_by
from softlabel.types import ClassTable


def files(name: str, classes: ClassTable, options: ExportOptions) -> Sequence[str]:
    """One file a case."""
    return (f"{name}.npz",)


def write(case: ExportedCase, paths: Sequence[Path], options: ExportOptions) -> None:
    """Write ``soft``, ``labels``, ``image`` …, and what tells their meaning."""
    content: dict[str, Any] = {
        "id": case.id,
        "soft": np.asarray(case.soft),
        "labels": np.asarray(case.labels),
        **{name: np.asarray(array) for name, array in case.others.items()},
        "class_values": np.array(case.classes.values, np.int64),
        "class_names": np.array(case.classes.names),
        "about": NOT_CALIBRATED,
    }
    optional = {"spacing_mm": case.spacing_mm, "affine": case.affine, "ignore": case.ignore}
    content |= {name: np.asarray(v) for name, v in optional.items() if v is not None}
    if case.channels:
        content["channels"] = np.array(case.channels)
    publish_by(paths[0], lambda path: np.savez_compressed(path, **content))


FORMAT = Format("arrays by their names, for NumPy", files, write)
