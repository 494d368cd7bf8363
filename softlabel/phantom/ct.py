"""CT scans of trunks, from the skull base to the thighs, with 104 labelled structures.

:mod:`~softlabel.phantom.body` says what lies where in an atlas, as solids. Here a subject's space
is bent against the atlas, so that no two are alike, and the solids are painted slab by slab, each
in its own box. A solid that fills part of a voxel mixes with what was there: with the depth d below
its surface at the voxel's centre, it fills ½ + d / w of the voxel, w being the voxel's width across
the surface. The label is what lies at the voxel's centre. Last come the scanner's blur and noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom.body import Layer, draw_body
from softlabel.phantom.ctclasses import AIR_HU, CT_CLASSES
from softlabel.phantom.fields import SmoothField
from softlabel.phantom.graders import Grader, displace_regions, find_borders, pair_habit
from softlabel.phantom.landmarks import EXTENT_MM
from softlabel.phantom.solids import (
    ROUGH_MM,
    Block,
    Both,
    Ellipsoid,
    Point,
    Side,
    Solid,
    Without,
)
from softlabel.types import Array

FULL_SHAPE = (512, 512, 300)
"""Voxels towards right, anterior, superior."""

FIELD_MM = (500.0, 500.0, 900.0)
"""The field of view unless a spacing is given."""

MIN_VOXELS, MAX_VOXELS = 16, 1024
SPACING_RANGE_MM = (0.1, 60.0)

SLAB_VOXELS = 6_000_000
"""Voxels that are painted at a time; about 150 bytes each."""

_BEND_MM, _BEND_WIDTH_MM = 4.0, 50.0
_BLUR_MM = 0.55
_NOISE_HU = 12.0


@dataclass(frozen=True, eq=False)
class CtScan:
    """One subject with its truth.

    Attributes
    ----------
    image : ndarray of int16, shape (x, y, z)
        Hounsfield units; axes towards right, anterior, superior.
    clean : ndarray of int16, shape (x, y, z)
        The same without noise.
    labels : ndarray of uint8, shape (x, y, z)
        True labels 0..104, by :data:`~softlabel.phantom.ctclasses.CT_CLASSES`: what lies at the
        centre of a voxel.
    spacing_mm : tuple of float
    affine : ndarray of float64, shape (4, 4)
    seed, number : int
        What the subject was drawn from.
    """

    image: Array
    clean: Array
    labels: Array
    spacing_mm: tuple[float, float, float]
    affine: Array
    seed: int
    number: int


def make_ct(
    seed: int,
    number: int,
    shape: tuple[int, int, int] = FULL_SHAPE,
    spacing_mm: tuple[float, float, float] | None = None,
) -> CtScan:
    """Draw one scan.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    number : int
        Number of the subject, from 1. The anatomy depends on ``seed`` and ``number`` only: other
        shapes and spacings sample the same body.
    shape : tuple of int
        Voxels along right, anterior, superior.
    spacing_mm : tuple of float, optional
        Distance of voxels. By default the field of view is 500 × 500 × 900 mm, so that fewer voxels
        are larger ones, and structures that are thinner than they lose voxels or vanish. With a
        spacing the field is ``shape`` × ``spacing_mm`` around the middle of the body: what lies
        outside is not there.

    Returns
    -------
    CtScan

    Raises
    ------
    UsageError
        When ``shape`` or ``spacing_mm`` is out of range.
    """
    check_grid(shape, spacing_mm)
    spacing = default_spacing_mm(shape)
    if spacing_mm is not None:
        x, y, z = spacing_mm
        spacing = (float(x), float(y), float(z))
    anatomy = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 2)))
    body = _Body(anatomy)
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    clean = np.empty(shape, dtype=np.int16)
    labels = np.zeros(shape, dtype=np.uint8)
    for slab in _slabs(shape):
        hu = body.paint(axes[0], axes[1], axes[2][slab], spacing, labels[..., slab])
        blur = [_BLUR_MM / s for s in spacing[:2]]
        clean[..., slab] = np.rint(ndimage.gaussian_filter(hu, [*blur, 0]))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    image = _noisy(clean, noise)
    return CtScan(image, clean, labels, spacing, affine, seed, number)


def default_spacing_mm(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Spacing with which a shape covers the whole field of view.

    Examples
    --------
    >>> default_spacing_mm((500, 250, 300))
    (1.0, 2.0, 3.0)
    """
    x, y, z = (extent / n for extent, n in zip(FIELD_MM, shape, strict=True))
    return x, y, z


def check_grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None = None
) -> None:
    """Raise UsageError unless a scan can have this shape and spacing."""
    text = " × ".join(str(n) for n in shape)
    if len(shape) != 3 or min(shape) < MIN_VOXELS or max(shape) > MAX_VOXELS:
        raise UsageError(
            f"A CT phantom of {text} voxels cannot be drawn; give three numbers from {MIN_VOXELS} "
            f"to {MAX_VOXELS}, such as {' × '.join(str(n) for n in FULL_SHAPE)}."
        )
    if spacing_mm is None:
        return
    low, high = SPACING_RANGE_MM
    if len(spacing_mm) != 3 or not all(low <= s <= high for s in spacing_mm):
        raise UsageError(
            f"A CT phantom cannot have the spacing {' × '.join(f'{s:g}' for s in spacing_mm)} mm; "
            f"give three numbers from {low:g} to {high:g} mm, such as 0.9,0.9,3."
        )


def _slabs(shape: tuple[int, int, int]) -> Iterator[slice]:
    step = max(1, SLAB_VOXELS // (shape[0] * shape[1]))
    for start in range(0, shape[2], step):
        yield slice(start, min(start + step, shape[2]))


class _Body:
    """One subject: its layers, and how its space is bent against the atlas."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.fat_mm = float(rng.uniform(8, 22))
        self.scale = rng.uniform(0.96, 1.03) * rng.uniform(0.98, 1.02, 3)
        self.bend = [SmoothField(_BEND_WIDTH_MM, EXTENT_MM, rng) for _ in range(3)]
        self.rough = SmoothField(ROUGH_MM, EXTENT_MM, rng)
        self.layers = draw_body(rng, self.fat_mm)

    def paint(self, x: Array, y: Array, z: Array, spacing: Point, labels: Array) -> Array:
        """Hounsfield units of a slab without blur, float32; its labels are written to ``labels``.

        Parameters
        ----------
        x, y, z : ndarray of float64, shape (n,)
            Coordinates of the slab's voxels in mm.
        spacing : sequence of float
            In mm.
        labels : ndarray of uint8, shape (nx, ny, nz)
            Zeros.
        """
        axes = (x / self.scale[0], y / self.scale[1], z / self.scale[2])
        hu = np.full(labels.shape, AIR_HU, dtype=np.float32)
        straight = self._block(axes, spacing, bent=False)
        _paint(_table(self.fat_mm), straight, hu, labels, spacing)
        block = self._block(axes, spacing)
        for layer in self.layers:
            where, near = block.part(layer.solid.low, layer.solid.high)
            if near.x.size:
                _paint(layer, near, hu[where], labels[where], spacing)
        return hu

    def _block(self, axes: tuple[Array, Array, Array], spacing: Point, bent: bool = True) -> Block:
        x, y, z = np.broadcast_arrays(*np.ix_(*(axis.astype(np.float32) for axis in axes)))
        if not bent:
            return Block(axes, x, y, z, np.broadcast_to(np.float32(0), x.shape), (0, 0, 0))
        bends = [_BEND_MM * field.at(*axes) for field in self.bend]
        most = max(float(np.abs(bend).max()) for bend in bends)
        margin = (most + 5 + spacing[0], most + 5 + spacing[1], most + 5 + spacing[2])
        rough = self.rough.at(*axes)
        return Block(axes, x + bends[0], y + bends[1], z + bends[2], rough, margin)


def _table(fat_mm: float) -> Layer:
    """The scanner's table: a curved shell on which the back lies."""
    top = -104 - 1.15 * fat_mm - 5
    upper = Ellipsoid((0, top + 330, 0), (330, 330, 1e5))
    lower = Ellipsoid((0, top + 330, 0), (342, 342, 1e5))
    edges = (Side((side * 205, 0, 0), (-side, 0, 0)) for side in (-1, 1))
    shell: Solid = Both(Without(lower, upper), *edges)
    return Layer(shell, -850, 0, shell=(-20, 2.5))


def _paint(layer: Layer, block: Block, hu: Array, labels: Array, spacing: Point) -> None:
    """Paint one layer onto a part of the slab, in place."""
    depth = layer.solid.depth(block)
    width = _width(depth, spacing)
    share = np.clip(0.5 + depth / width, 0, 1)
    if layer.within:
        inside = np.isin(labels, layer.within)
        share *= inside
        depth = np.where(inside, depth, -1)
    colour: Array | float = layer.hu
    if layer.shell is not None:
        shell_hu, thickness = layer.shell
        core = np.clip(0.5 + (depth - thickness) / width, 0, 1)
        colour = shell_hu + (layer.hu - shell_hu) * core
    hu += share * (colour - hu)
    if layer.value is not None:
        labels[depth > 0] = layer.value


def _width(depth: Array, spacing: Point) -> Array | float:
    """Width of a voxel across the surface: w² = Σ (sᵢ nᵢ)² with the unit normal n, Σ nᵢ² = 1."""
    # From the finest axis on nothing is taken away: rounding cannot make the square negative.
    finest = min(spacing)
    width: Array | float = finest**2
    for axis, step in enumerate(spacing):
        if step != finest and depth.shape[axis] > 1:
            normal = np.gradient(depth, axis=axis)
            normal *= 1 / step
            width = width + (step**2 - finest**2) * np.minimum(np.square(normal), 1)
    # Both square roots keep float32: a scalar of NumPy's would make float64 of what it meets.
    return math.sqrt(width) if isinstance(width, float) else np.sqrt(width)


def _noisy(clean: Array, rng: np.random.Generator) -> Array:
    """Add noise that is coarse-grained in the plane and correlated between neighbouring slices.

    The grain is that of a filtered back projection: a Gaussian less a wider one, so that low
    frequencies are missing. Rays through much tissue are noisier: σ grows with the share of the
    slice that is not air.
    """
    image = np.empty_like(clean)
    slices = [_grain(clean.shape[:2], rng) for _ in range(2)]
    for z in range(clean.shape[2]):
        slices.append(_grain(clean.shape[:2], rng))
        grain = 0.5 * slices[0] + slices[1] + 0.5 * slices[2]
        grain *= 1 / np.sqrt(1.5)
        tissue = float((clean[..., z] > -500).mean())
        sigma = _NOISE_HU * np.exp(1.5 * (tissue - 0.25))
        image[..., z] = np.clip(np.rint(clean[..., z] + sigma * grain), -1024, 3071)
        del slices[0]
    return image


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Noise of one slice, of variance 1."""
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = ndimage.gaussian_filter(white, 0.7, mode="wrap")
    fine -= 0.8 * ndimage.gaussian_filter(white, 1.8, mode="wrap")
    fine *= 1 / fine.std()
    return np.asarray(fine)


# --- graders ------------------------------------------------------------------------------------

_GRADED_SLICES = 16


def annotate_ct(scan: CtScan, grader: Grader, who: int = 1) -> Array:
    """Draw what grader number ``who`` makes of a scan, slice by slice.

    Parameters
    ----------
    scan : CtScan
    grader : Grader
        Its RMS and correlation length are in in-plane voxels; the RMS is met in each 16 slices.
        Structures that are about as thin as the RMS come and go.
    who : int
        Number of the grader: another number is an independent draw, and another habit.

    Returns
    -------
    ndarray of uint8, shape (x, y, z)
    """
    habits = np.random.default_rng(np.random.SeedSequence(scan.seed, spawn_key=(0, who)))
    habit = pair_habit(len(CT_CLASSES), habits)
    drawn = np.empty_like(scan.labels)
    for start in range(0, scan.labels.shape[2], _GRADED_SLICES):
        slab = slice(start, start + _GRADED_SLICES)
        key = (scan.number, 1, who, start)
        rng = np.random.default_rng(np.random.SeedSequence(scan.seed, spawn_key=key))
        slices = np.ascontiguousarray(np.moveaxis(scan.labels[..., slab], -1, 0))
        clean = np.moveaxis(scan.clean[..., slab], -1, 0)
        borders = find_borders(slices, clean[None], grader)
        drawn[..., slab] = np.moveaxis(displace_regions(borders, grader, rng, habit), 0, -1)
    return drawn
