"""Which superpixels and distances serve volumes: thick slices, brains, CT.

Run with ``python -m benchmarks.volumes``. For each volume first superpixels, then distances inside
some of them. *Soft* is the share of the voxels whose label is not hard any more, *soft, of the
classes* the same without the first class (background, air). The achievable Dice is that of a
segmentation of whole superpixels. *Own q* is the mean soft label of a class in its own voxels: 1
where it stayed hard; the lowest of the classes is the one that softening blurs most. Means are over
the classes but the first. Recall over chance is that of the boundaries in slices, mean over slices.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data  # noqa: E402
from softlabel.generation.case_superpixels import make_superpixels  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.softmaps.maps import SoftMaps  # noqa: E402
from softlabel.superpixels.quality import achievable_accuracy, boundary_recall  # noqa: E402
from softlabel.types import Array, Case, ClassTable  # noqa: E402

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue, as ``--window=-160,240`` clips CT."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """How superpixels are made: in the volume or slice by slice, of which size, how compact."""

    dims: str
    size: float | None
    compactness: float = 0.1
    superpixels: str = "slic"

    @property
    def settings(self) -> Settings:
        """The same as settings of ``softlabel generate``; without a size its 2000 superpixels."""
        return Settings(
            superpixels=self.superpixels, slic_dims=self.dims, superpixel_size=self.size,
            compactness=self.compactness,
        )  # fmt: skip

    @property
    def columns(self) -> Row:
        """The same as the first columns of a table."""
        grid = self.superpixels == "grid"
        return {
            "superpixels of": f"the {self.dims}" + (", a regular grid" if grid else ""),
            "asked for": "n = 2000" if self.size is None else f"size {self.size:g}",
            "compactness": "" if grid else f"{self.compactness:g}",
        }


SIZES = (None, 2000.0, 1000.0, 216.0, 27.0)
COMPACTNESS = (0.02, 0.3)
DIMS = ("volume", "slice")

FULL = (
    *(Made(dims, size) for dims in DIMS for size in SIZES),
    *(Made(dims, 216, compactness) for dims in DIMS for compactness in COMPACTNESS),
    *(Made(dims, 216, superpixels="grid") for dims in DIMS),
)
BRIEF = (
    *(Made(dims, size) for dims in DIMS for size in (None, 216, 27)),
    Made("volume", 216, superpixels="grid"),
)
"""For the CT, whose 2000 superpixels of the volume have about 1000 voxels each."""

MEASURED_IN = (Made("volume", None), Made("volume", 216), Made("slice", 216), Made("slice", None))
"""Superpixels whose distances are compared."""

DISTANCES: dict[str, tuple[bool, bool]] = {
    "in space, in voxels": (False, False),
    "in space, in mm": (False, True),
    "in slices": (True, False),
}
"""Whether they stay in slices, and whether they are in mm: in the slices here that is the same."""


def scans() -> Iterator[tuple[Case, tuple[Made, ...]]]:
    """The volumes with their true labels, whose ids say what they are, and their superpixels."""
    yield replace(data.brain(), id="MRI phantom, 240×240×48, 0.96×0.96×3 mm"), FULL
    yield replace(data.isotropic_brain(), id="MRI phantom, 120×120×75, 1.92 mm"), FULL
    if (real := data.real_brain()) is not None:
        yield brain_of(*real), FULL
    ct = data.ct("128x128x128")
    assert ct.spacing_mm is not None
    size = f"{'×'.join(map(str, ct.shape))}, {'×'.join(f'{s:.2g}' for s in ct.spacing_mm)} mm"
    yield replace(ct, id=f"CT phantom, {size}"), BRIEF
    clipped = np.clip(ct.image, *WINDOW_HU)
    yield replace(ct, id=f"CT phantom in a window of −160 to 240 HU, {size}", image=clipped), BRIEF


def brain_of(image: Array, labels: Array) -> Case:
    """The FreeSurfer brain in its box, as a case."""
    inside = [np.flatnonzero((labels > 0).any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    box = tuple(slice(int(found[0]), int(found[-1]) + 1) for found in inside)
    labels = np.ascontiguousarray(labels[box])
    classes = ClassTable.from_values(np.unique(labels).tolist())
    name = f"FreeSurfer brain, {'×'.join(map(str, labels.shape))}, 1 mm, {len(classes)} values"
    return Case(name, image[box][None], labels, classes, spacing_mm=(1.0, 1.0, 1.0), slice_axis=2)


def superpixel_table(case: Case, made: dict[Made, Array]) -> list[Row]:
    """What each kind of superpixels softens, and how well it fits the labels."""
    rows = []
    for how, ids in made.items():
        soft = softlabel.soften(case.labels, ids, classes=case.classes)
        reached = achievable_accuracy(case.labels, ids).dice
        dice = [reached[v] for v in case.classes.values[1:] if v in reached]
        rows.append(
            how.columns
            | {"made": int(ids.max()) + 1, "voxels each": ids.size / (int(ids.max()) + 1)}
            | shares(case, soft)
            | {"Dice": float(np.mean(dice)), "lowest": min(dice)}
            | {"classes below ½": sum(d < 0.5 for d in dice)}
            | {"recall over chance": recall_in_slices(case, ids)}
            | own_class(soft)
        )
    return rows


def distance_table(case: Case, made: dict[Made, Array]) -> list[Row]:
    """How soft labels are with distances in space or in slices, in voxels or in mm."""
    assert case.spacing_mm is not None
    cubic = np.allclose(case.spacing_mm, case.spacing_mm[0], rtol=0.01)
    rows = []
    for how in MEASURED_IN:
        for name, (in_plane, in_mm) in DISTANCES.items():
            if in_mm and cubic:
                continue  # the same as in voxels
            soft = softlabel.soften(
                case.labels, made[how], classes=case.classes, in_plane=in_plane,
                spacing=case.spacing_mm if in_mm else None, slice_axis=case.slice_axis,
            )  # fmt: skip
            where = {"distances": name}
            rows.append(how.columns | where | shares(case, soft) | own_class(soft))
    return rows


def shares(case: Case, soft: SoftMaps) -> Row:
    """Softened shares of all voxels and of those of the classes but the first."""
    band, tissue = soft.band, case.labels != case.classes.values[0]
    return {"soft": float(band.mean()), "soft, of the classes": float(band[tissue].mean())}


def recall_in_slices(case: Case, ids: Array) -> float:
    """Boundary recall over chance in the slices, whose superpixels all end at the next slice."""
    assert case.slice_axis is not None
    slices = zip(*(np.moveaxis(v, case.slice_axis, 0) for v in (case.labels, ids)), strict=True)
    return float(np.nanmean([boundary_recall(*pair).over_chance for pair in slices]))


def own_class(soft: SoftMaps) -> Row:
    """Mean soft label of the classes in their own voxels, and the lowest of a class."""
    counts = np.bincount(soft.index.ravel(), minlength=len(soft.table))[: len(soft.table)]
    there = np.flatnonzero(counts[1:]) + 1
    means = soft.own_class_sums(soft.index)[there] / counts[there]
    return {"own q": float(means.mean()), "lowest own q": float(means.min())}


def tables_of(case: Case, kinds: tuple[Made, ...]) -> Iterator[list[Row]]:
    """Both tables of a volume, with its name at their head."""
    made = {how: make_superpixels(case, how.settings)[0] for how in kinds}
    for rows in (superpixel_table(case, made), distance_table(case, made)):
        yield [{case.id: row.pop("superpixels of")} | row for row in rows]


def main(repeats: int = 1) -> list[Row]:
    """Print the tables and return their rows; nothing is timed, so nothing is repeated."""
    rows = []
    for case, kinds in scans():
        for table in tables_of(case, kinds):
            show(case.id, table)
            rows += table
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    main()
