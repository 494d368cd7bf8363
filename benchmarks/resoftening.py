"""Soft labels after random rotation and zoom: made anew, or those of the cache interpolated.

Run with ``python -m benchmarks.resoftening``. *Interpolated* is what ``softlabel-train`` does: the
soft maps of the cache are resampled linearly, images too, hard labels by the nearest pixel.
*Made anew* takes hard labels and superpixels by the nearest pixel and calls
:func:`softlabel.soften_batch`, which counts distances in the pixels of the new image; with "zoomed
scale" its ``scale`` is one pixel of the old one. Differences are of the largest over the classes,
means over the pixels that one of the two softened and both know.

The reference of the last table is neither: the labels are cut into pixels several times finer
(every pixel into equal ones of its label and superpixel), softened there with distances to the
faces of the old pixels, and looked up at the place that each new pixel comes from.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import alternate_with_cpu, one_thread, show

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from softlabel_train.augment import Change, resampled, sampling_grid  # noqa: E402
from torch import Tensor  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data  # noqa: E402
from softlabel.generation.case_superpixels import make_superpixels  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.softmaps.class_index import class_index_map  # noqa: E402
from softlabel.types import Array, Case  # noqa: E402

IGNORED = -1
CHANGES = {
    "none": (0.0, 1.0),
    "turned by 5°": (5.0, 1.0),
    "turned by 15°": (15.0, 1.0),
    "turned by 45°": (45.0, 1.0),
    "zoomed to 0.8": (0.0, 0.8),
    "zoomed to 1.25": (0.0, 1.25),
    "15°, zoomed to 1.25": (15.0, 1.25),
}
"""Degrees in the plane, and how many times as large."""

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of one shape with what a cache knows of them.

    Attributes
    ----------
    name : str
    labels, superpixels : Tensor of int64, shape (B, *spatial)
        Class indices and ids.
    soft : Tensor of float32, shape (B, K, *spatial)
        Of the whole images, cut.
    boundary : str
    finer : int
        Into how many pixels along each axis the reference cuts a pixel; odd, so that old centres
        are new ones.
    """

    name: str
    labels: Tensor
    superpixels: Tensor
    soft: Tensor
    boundary: str
    finer: int

    @property
    def dims(self) -> int:
        """Spatial axes."""
        return self.labels.ndim - 1


def bscan_patches(boundary: str) -> Patches:
    """Eight crops of B-scans of 496 × 768 pixels with 2000 superpixels, about 190 pixels each."""
    where = [(slice(r, r + 256), slice(c, c + 256)) for r in (40, 100) for c in (0, 170, 340, 512)]
    return cut(data.bscan(), Settings(), boundary, where, "8 crops of 256×256", 5)


def small_brain_patches(boundary: str) -> Patches:
    """Patches of a brain of thick slices, 2000 superpixels in each slice: 27 voxels each."""
    return brain_patches(boundary, Settings(slic_dims="slice"), "27 voxels a superpixel")


def large_brain_patches(boundary: str) -> Patches:
    """The same patches with supervoxels of about 216 voxels."""
    return brain_patches(boundary, Settings(superpixel_size=216), "216 voxels a supervoxel")


def brain_patches(boundary: str, settings: Settings, what: str) -> Patches:
    """Two patches of a brain of 11 classes."""
    where = [(slice(r, r + 96), slice(72, 168), slice(8, 40)) for r in (40, 110)]
    return cut(data.brain(), settings, boundary, where, f"2 patches of 96×96×32, {what}", 3)


def cut(
    case: Case,
    settings: Settings,
    boundary: str,
    where: list[tuple[slice, ...]],
    name: str,
    finer: int,
) -> Patches:
    """Patches of a case, softened as a whole before."""
    assert case.classes is not None
    ids, _ = make_superpixels(case, settings)
    soft = softlabel.soften(case.labels, ids, classes=case.classes, boundary=boundary)
    index = class_index_map(case.labels, case.classes, None)
    return Patches(
        name,
        torch.from_numpy(np.stack([index[at] for at in where]).astype(np.int64)),
        torch.from_numpy(np.stack([ids[at] for at in where]).astype(np.int64)),
        torch.from_numpy(np.stack([soft.patch(at) for at in where])),
        boundary,
        finer,
    )


def grid_of(dims: int, shape: tuple[int, ...], degrees: float, zoom: float) -> Tensor:
    """Places that the pixels of a turned and zoomed image come from, as training has them."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(dims, dims + 1, dtype=np.float32)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:, :dims] /= zoom
    change = Change((False,) * dims, warp=matrix)
    return sampling_grid(change, shape, torch.device("cpu"))


def nearest(values: Tensor, grid: Tensor) -> Tensor:
    """Whole numbers (B, *spatial) by the nearest pixel, −1 from outside; float32 holds them all."""
    moved = resampled(values.to(torch.float32) + 1, grid, "nearest", "zeros")
    return moved.round().to(torch.int64) - 1


def interpolated(patches: Patches, grid: Tensor) -> Tensor:
    """The soft maps of the cache, resampled linearly."""
    flat = patches.soft.flatten(0, 1)
    return resampled(flat, grid, "bilinear", "border").view(patches.soft.shape)


def made_anew(labels: Tensor, patches: Patches, grid: Tensor, scale: float | None = None) -> Tensor:
    """Soft labels of moved labels and superpixels."""
    moved = nearest(patches.superpixels, grid)
    soft = softlabel.soften_batch(
        labels, moved, range(patches.soft.shape[1]), ignore=IGNORED, boundary=patches.boundary,
        scale=scale,
    )  # fmt: skip
    return soft.dense()


def reference(patches: Patches, grid: Tensor) -> Tensor:
    """Soft labels of the old pixels as areas, at the places of the grid; boundary ``edge``."""
    n, dims = patches.finer, patches.dims
    places = grid[:dims].reshape(dims, -1).numpy()
    found = np.zeros(patches.soft.shape, np.float32)
    for labels, ids, out in zip(patches.labels, patches.superpixels, found, strict=True):
        fine_labels, fine_ids = (finer(v.numpy(), n) for v in (labels, ids))
        soft = softlabel.soften(
            fine_labels, fine_ids, classes=range(len(out)), boundary="edge",
            spacing=(1 / n,) * dims, scale=1.0,
        )  # fmt: skip
        middle = (np.array(labels.shape)[:, None] - 1) / 2
        at = np.floor((places + middle + 0.5) * n).astype(np.int64)
        at = np.clip(at, 0, np.array(fine_labels.shape)[:, None] - 1)
        for k in range(len(out)):
            out[k] = soft.class_map(k)[tuple(at)].reshape(labels.shape)
    return torch.from_numpy(found)


def finer(values: Array, n: int) -> Array:
    """Every pixel as n equal ones along each axis."""
    for axis in range(values.ndim):
        values = np.repeat(values, n, axis)
    return values


def compare(found: Tensor, other: Tensor, known: Tensor) -> tuple[float, float, float]:
    """Mean difference in the band of either, and share of it and of all with another argmax."""
    band = known & (is_soft(found) | is_soft(other))
    difference = (found - other).abs().amax(1)
    changed = found.argmax(1) != other.argmax(1)
    if not band.any():
        return 0.0, 0.0, 0.0
    return (
        difference[band].mean().item(),
        changed[band].double().mean().item(),
        changed[known].double().mean().item(),
    )


def is_soft(soft: Tensor) -> Tensor:
    """Pixels with a value that is neither 0 nor 1 within the rounding of interpolation."""
    return ((soft > 1e-5) & (soft < 1 - 1e-5)).any(1)


def difference_table(patches: Patches) -> list[Row]:
    """How far the two ways are apart, by rotation and zoom."""
    rows = []
    for what, (degrees, zoom) in CHANGES.items():
        grid = grid_of(patches.dims, tuple(patches.labels.shape[1:]), degrees, zoom)
        labels = nearest(patches.labels, grid)
        known = labels >= 0
        old = interpolated(patches, grid)
        new = made_anew(labels, patches, grid)
        mean, of_band, of_all = compare(old, new, known)
        zoomed = compare(old, made_anew(labels, patches, grid, zoom), known)[0]
        rows.append(
            {
                patches.name: what,
                "mean ∣Δq∣": mean,
                "with zoomed scale": zoomed,
                "another argmax, of the band": of_band,
                "of all pixels": of_all,
                "soft, interpolated": share(old, known),
                "soft, made anew": share(new, known),
            }
        )
    return rows


def share(soft: Tensor, known: Tensor) -> float:
    """Softened share of the known pixels."""
    return is_soft(soft)[known].double().mean().item()


def reference_table(patches: Patches) -> list[Row]:
    """How far each way is from the soft labels of the old pixels, with boundary ``edge``."""
    rows = []
    for what, (degrees, zoom) in CHANGES.items():
        grid = grid_of(patches.dims, tuple(patches.labels.shape[1:]), degrees, zoom)
        labels = nearest(patches.labels, grid)
        known = labels >= 0
        exact = reference(patches, grid)
        ways = {
            "interpolated": interpolated(patches, grid),
            "made anew": made_anew(labels, patches, grid),
            "anew, zoomed scale": made_anew(labels, patches, grid, zoom),
        }
        found = {way: compare(soft, exact, known) for way, soft in ways.items()}
        rows.append(
            {f"{patches.name}, edge": what}
            | {f"{way}: mean ∣Δq∣": found[way][0] for way in ways}
            | {f"{way}: another argmax, of the band": found[way][1] for way in list(ways)[:2]}
        )
    return rows


def time_table(patches: Patches, repeats: int) -> list[Row]:
    """Processor seconds of a batch for the soft labels alone; images and hard labels are moved."""
    grid = grid_of(patches.dims, tuple(patches.labels.shape[1:]), 15.0, 1.1)
    labels = nearest(patches.labels, grid)
    ways = {
        "interpolated": lambda: interpolated(patches, grid),
        "made anew, soften_batch": lambda: made_anew(labels, patches, grid),
        "made anew, soften, as in a loader": lambda: made_one_by_one(labels, patches, grid),
    }
    seconds = alternate_with_cpu(ways, repeats)
    first = seconds["interpolated"][1]
    return [
        {
            "a batch": patches.name, "soft labels": way, "ms by the clock": 1e3 * wall,
            "CPU ms": 1e3 * cpu, "times as long": cpu / first,
        }
        for way, (wall, cpu) in seconds.items()
    ]  # fmt: skip


def made_one_by_one(labels: Tensor, patches: Patches, grid: Tensor) -> Tensor:
    """As :func:`made_anew`, by the code for processors."""
    moved = nearest(patches.superpixels, grid)
    classes = range(patches.soft.shape[1])
    dense = [
        softlabel.soften(one.numpy(), ids.numpy(), classes=classes, ignore=IGNORED,
                         boundary=patches.boundary).dense()
        for one, ids in zip(labels, moved, strict=True)
    ]  # fmt: skip
    return torch.from_numpy(np.stack(dense))


def main(repeats: int = 5) -> list[Row]:
    """Print the tables and return their rows."""
    torch.set_num_threads(1)
    tables: dict[str, list[Row]] = {}
    times: list[Row] = []
    for make in (bscan_patches, small_brain_patches, large_brain_patches):
        patches = make("inner")
        tables[f"{patches.name}: how far apart"] = difference_table(patches)
        times += time_table(patches, repeats)
        tables[f"{patches.name}: against the old pixels"] = reference_table(make("edge"))
    tables["Time of a batch, one core"] = times
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    main(parser.parse_args().repeats)
