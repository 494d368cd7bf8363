"""B-scans of two boundaries, made by hand, and sources that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from softlabel.measurements.scans import Compared, Layers, Scales, ScanSurfaces, scan_surfaces
from softlabel.measurements.sources import CaseLabels, LabelSource
from softlabel.types import Array

TWO = Layers(("top", "bottom"))


def block(top: int = 2, bottom: int = 6, shape: tuple[int, int] = (10, 5)) -> Array:
    """Class 1 from row ``top`` to before row ``bottom``."""
    labels = np.zeros(shape, np.uint8)
    labels[top:], labels[bottom:] = 1, 2
    return labels


def scan(case_id: str, labels: Array | None = None) -> ScanSurfaces:
    """Surfaces of a B-scan with pixels of 4 × 10 µm, and an image of its labels."""
    labels = block() if labels is None else labels
    case = CaseLabels(
        case_id, case_id, "patient", {"labels": labels}, spacing_mm=(0.004, 0.01),
        image=lambda: 20 * labels,
    )  # fmt: skip
    return scan_surfaces(Compared(case, "labels"), TWO, Scales(), with_image=True)


def source(path: str = "source", **maps: Array) -> LabelSource:
    """Label maps by id."""

    def read(case_id: str) -> CaseLabels:
        labels = {"labels": maps[case_id], "other": maps[case_id]}
        return CaseLabels(case_id, case_id, "", labels, spacing_mm=(0.004, 0.01))

    return LabelSource(Path(path), "", tuple(maps), read)
