"""The anatomy of a head: which tissue is where, in millimetres.

A head is built from the outside in, on coordinates that a smooth random warp has bent so that no
two heads are alike and none is symmetric: scalp and skull around an egg, the cerebrum's hull
within, flattened below where the skull base is. Sulci are the zero set of a narrow-band random
field on that hull, carried inwards: such sets are labyrinths of the width of gyri. Cortex is
what lies within its thickness of the sulci and the surface, so that it folds with them. Deep
nuclei are ellipsoids, ventricles and brain stem are tubes along polylines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from softlabel.phantom.fields import sigmoid, smooth_noise
from softlabel.types import Array

FIELD_OF_VIEW_MM = (229.92, 229.92, 144.0)
HEAD_MM = (86.0, 108.0)
"""Half extents along right and anterior of the box that holds every head."""

N_LABELS = 11


@dataclass(frozen=True, eq=False)
class Tissues:
    """What tissues there are: rows of a table, found by name through ``index``.

    Attributes
    ----------
    index : mapping of str to int
    label : ndarray of uint8
        Label in the data set.
    density, t1_ms, t2_ms : ndarray of float64
        Relative proton density and relaxation times at 3 T.
    """

    index: Mapping[str, int]
    label: Array
    density: Array
    t1_ms: Array
    t2_ms: Array


def _tissues(rows: list[tuple[str, int, float, float, float]]) -> Tissues:
    names, label, density, t1, t2 = zip(*rows, strict=True)
    return Tissues(
        MappingProxyType({name: i for i, name in enumerate(names)}),
        np.array(label, dtype=np.uint8),
        np.array(density),
        np.array(t1),
        np.array(t2),
    )


TISSUES = _tissues(
    [
        # name, label, density, T1 ms, T2 ms
        ("air", 0, 0.0, 1000, 50),
        ("bone", 0, 0.06, 800, 20),
        ("marrow", 0, 0.55, 420, 90),
        ("fat", 0, 0.85, 380, 95),
        ("muscle", 0, 0.75, 1250, 48),
        ("eye", 0, 1.0, 4000, 1200),
        ("cortex", 1, 0.82, 1380, 92),
        ("caudate and putamen", 2, 0.82, 1240, 80),
        ("thalamus", 2, 0.78, 1120, 78),
        ("pallidum", 2, 0.74, 960, 66),
        ("white matter", 3, 0.70, 850, 72),
        ("white matter lesion", 4, 0.88, 1350, 140),
        ("sulcal CSF", 5, 1.0, 4300, 1600),
        ("ventricular CSF", 6, 1.0, 4300, 1600),
        ("cerebellar cortex", 7, 0.84, 1330, 92),
        ("cerebellar white matter", 7, 0.72, 900, 74),
        ("brain stem", 8, 0.73, 960, 76),
        ("cerebellar fissure", 7, 1.0, 4300, 1600),
        ("infarct core", 9, 0.97, 3300, 700),
        ("infarct rim", 9, 0.88, 1500, 170),
        ("haemorrhage", 10, 0.70, 520, 45),
    ]
)


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of a scan, and the thinner slices that the head is drawn on.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the scan.
    spacing_mm : tuple of float
        Of the scan.
    thin : int
        Thin slices in a slice of the scan.
    box : tuple of slice
        The voxels that can hold a head; anatomy is drawn inside only.
    x_mm, y_mm, z_mm : ndarray of float32
        Coordinates in the box, of thin slices along z; they broadcast.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    thin: int
    box: tuple[slice, slice, slice]
    x_mm: Array
    y_mm: Array
    z_mm: Array

    @classmethod
    def of(cls, shape: tuple[int, int, int]) -> Grid:
        """Lay ``shape`` voxels over the field of view."""
        spacing = [extent / n for extent, n in zip(FIELD_OF_VIEW_MM, shape, strict=True)]
        thin = int(np.clip(round(spacing[2]), 1, 9)) | 1
        axes, box = [], []
        for n, step, half in zip(shape[:2], spacing, HEAD_MM, strict=False):
            centre = (np.arange(n) - (n - 1) / 2) * step
            inside = np.flatnonzero(np.abs(centre) <= half)
            box.append(slice(int(inside[0]), int(inside[-1]) + 1))
            axes.append(centre[inside])
        n_thin, step = shape[2] * thin, spacing[2] / thin
        axes.append((np.arange(n_thin) - (n_thin - 1) / 2) * step)
        x, y, z = (axis.astype(np.float32) for axis in axes)
        return cls(
            shape,
            (spacing[0], spacing[1], spacing[2]),
            thin,
            (box[0], box[1], slice(0, shape[2])),
            x[:, None, None],
            y[None, :, None],
            z[None, None, :],
        )

    @property
    def thin_mm(self) -> tuple[float, float, float]:
        """Spacing of the voxels that the anatomy is drawn on."""
        return (*self.spacing_mm[:2], self.spacing_mm[2] / self.thin)

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Thin voxels of the box along each axis."""
        return self.x_mm.shape[0], self.y_mm.shape[1], self.z_mm.shape[2]

    def noise(self, sigma_mm: float, rng: np.random.Generator) -> Array:
        """Smooth field of variance 1 in the box."""
        return smooth_noise(self.box_shape, [sigma_mm / s for s in self.thin_mm], rng)


@dataclass(frozen=True, eq=False)
class _Frame:
    """Bent coordinates in mm (float32 arrays over the box), and how large this brain is."""

    x: Array
    y: Array
    z: Array
    side: Array
    """|x|: structures come in pairs."""


def draw_head(grid: Grid, rng: np.random.Generator) -> Array:
    """Draw a head.

    Parameters
    ----------
    grid : Grid
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape of the box with thin slices
        Row numbers of :data:`TISSUES`.
    """
    frame = _bent(grid, rng)
    hull = _hull_depth(frame)
    cerebellum, stem = _cerebellum_depth(frame), _stem_depth(frame)
    tissue = _outside_the_brain(grid, frame, np.maximum(np.maximum(hull, cerebellum), stem), rng)
    cerebrum = (hull > 0) & (cerebellum < -1.5)
    ventricles = _ventricles(frame, rng)
    csf = _sulci(grid, frame, hull, rng) & cerebrum
    _paint_cerebrum(grid, tissue, cerebrum, csf)
    _paint_cerebellum(grid, frame, tissue, cerebellum, rng)
    put = TISSUES.index
    tissue[stem > 0] = put["brain stem"]
    _paint_nuclei(frame, tissue)
    tissue[ventricles & (hull > 3)] = put["ventricular CSF"]
    tissue[_ellipsoid(frame.side, frame.y, frame.z, (0, -43, -36), (7, 5, 10)) > 0] = put[
        "ventricular CSF"
    ]
    _paint_lesions(grid, frame, tissue, rng)
    return tissue


# --- shapes ---------------------------------------------------------------------------------


def _ellipsoid(x: Array, y: Array, z: Array, centre: Array | tuple, half: tuple) -> Array:
    """Depth below the surface of an ellipsoid in mm, about, negative outside."""
    radius = np.sqrt(
        ((x - centre[0]) / half[0]) ** 2
        + ((y - centre[1]) / half[1]) ** 2
        + ((z - centre[2]) / half[2]) ** 2
    )
    return np.asarray((1 - radius) * np.float32(min(half)))


def _tube(
    frame: _Frame, points: Sequence[tuple[float, float, float, float]], flat: float = 1
) -> Array:
    """Depth in mm below the surface of a tube through (|x|, y, z, radius) points.

    ``flat`` > 1 makes the section that many times wider than high.
    """
    depth = np.full(frame.x.shape, -99, dtype=np.float32)
    for start, end in pairwise(points):
        reach = max(start[3], end[3]) * flat + 6
        low = [min(a, b) - reach for a, b in zip(start[:3], end[:3], strict=True)]
        high = [max(a, b) + reach for a, b in zip(start[:3], end[:3], strict=True)]
        near = _box_around(frame, low, high)
        a, b = np.array(start[:3], np.float32), np.array(end[:3], np.float32)
        along = b - a
        dx, dy, dz = frame.side[near] - a[0], frame.y[near] - a[1], frame.z[near] - a[2]
        t = (dx * along[0] + dy * along[1] + dz * along[2]) / (along @ along)
        t = np.clip(t, 0, 1)
        off = ((dx - t * along[0]) / flat) ** 2
        off += (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2
        radius = start[3] + t * (end[3] - start[3])
        depth[near] = np.maximum(depth[near], radius - np.sqrt(off))
    return depth


def _box_around(frame: _Frame, low: list[float], high: list[float]) -> tuple[slice, ...]:
    """Slices of the box along y and z (whole along x, where pairs lie) that hold a structure."""
    slices = [slice(None)]
    for axis, values in ((1, frame.y), (2, frame.z)):
        line = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        touched = np.flatnonzero((line.max(axis=1) >= low[axis]) & (line.min(axis=1) <= high[axis]))
        slices.append(slice(touched[0], touched[-1] + 1) if touched.size else slice(0, 0))
    return tuple(slices)


# --- parts ----------------------------------------------------------------------------------


def _bent(grid: Grid, rng: np.random.Generator) -> _Frame:
    """Coordinates with a smooth warp, a size and a small rotation of this head's own."""
    scale = 1 / (rng.uniform(0.95, 1.03) * rng.uniform(0.98, 1.02, 3))
    yaw, tilt = rng.normal(0, 0.035, 2)
    x = grid.x_mm * np.cos(yaw) - grid.y_mm * np.sin(yaw)
    y = grid.x_mm * np.sin(yaw) + grid.y_mm * np.cos(yaw)
    x, y, z = np.broadcast_arrays(x, y, grid.z_mm)
    y, z = y * np.cos(tilt) - z * np.sin(tilt), y * np.sin(tilt) + z * np.cos(tilt)
    bent = [
        (axis * np.float32(s) + np.float32(1.7) * grid.noise(24, rng)).astype(np.float32)
        for axis, s in zip((x, y, z), scale, strict=True)
    ]
    return _Frame(bent[0], bent[1], bent[2], np.abs(bent[0]))


def _egg(frame: _Frame) -> Array:
    """Depth below the cerebrum's convexity, about: narrower in front, wider behind."""
    width = 67 * (1 - 0.0011 * frame.y - 0.000010 * frame.y**2)
    height = np.where(frame.z > 0, np.float32(62), np.float32(58))
    radius = np.sqrt((frame.side / width) ** 2 + ((frame.y) / 87) ** 2 + (frame.z / height) ** 2)
    return np.asarray((1 - radius) * np.float32(68))


def _base_mm(frame: _Frame) -> Array:
    """Height of the skull base below the cerebrum: deep under the temporal lobes."""
    temporal = sigmoid((frame.side - 21) / 2.5)
    temporal = temporal * sigmoid((38 - frame.y) / 2.5) * sigmoid((frame.y + 34) / 6)
    tentorium = -8 + 0.20 * (frame.y + 40) - 0.12 * frame.side
    tentorium = np.minimum(tentorium, -5)
    front = sigmoid((frame.y - 5) / 6)
    plain = front * -23 + (1 - front) * tentorium
    return np.asarray(plain * (1 - temporal) - 45 * temporal)


def _hull_depth(frame: _Frame) -> Array:
    return np.minimum(_egg(frame), (frame.z - _base_mm(frame)) * 0.8)


def _cerebellum_depth(frame: _Frame) -> Array:
    lobes = _ellipsoid(frame.side, frame.y, frame.z, (23, -55, -41), (29, 30, 23))
    vermis = _ellipsoid(frame.side, frame.y, frame.z, (0, -53, -38), (15, 24, 21))
    # A notch between the hemispheres, behind.
    notch = 2.0 * np.exp(-((frame.side / 3) ** 2)) * sigmoid((-68 - frame.y) / 3)
    roof = (-12 - 0.30 * frame.side - frame.z) * 0.9
    return np.minimum(np.maximum(lobes, vermis) - notch, roof)


def _stem_depth(frame: _Frame) -> Array:
    core = [(0, -17, -3, 11), (0, -20, -16, 12), (0, -22, -27, 13), (0, -23, -40, 13)]
    medulla = [(0, -29, -55, 9), (0, -35, -72, 7), (0, -38, -90, 6.5)]
    return _tube(frame, [*core, *medulla], flat=1.2)


def _outside_the_brain(grid: Grid, frame: _Frame, brain: Array, rng: np.random.Generator) -> Array:
    """Everything but brain: CSF around it, skull, scalp, and face and neck below."""
    put = TISSUES.index
    vault = _egg(frame) + grid.noise(14, rng) * 0.6
    # Below the widest level the head does not close: it goes on into face and neck.
    below = frame.z < -5
    neck = np.hypot(frame.side / (67 + 0.10 * (frame.z + 5)), frame.y / 87)
    outline = np.where(below, (1 - neck) * 68, vault)
    tissue = np.full(brain.shape, put["air"], dtype=np.uint8)
    mottle = grid.noise(4, rng)
    tissue[outline > -14.5] = put["fat"]
    tissue[(outline > -11.2) & below] = put["muscle"]
    tissue[(outline > -10.5) & below & (np.abs(mottle - 1.5) < 0.25)] = put["fat"]
    tissue[(outline > -9.5) & ~below] = put["bone"]
    tissue[(outline > -7.8) & (outline < -4.6 + 0.6 * mottle) & ~below] = put["marrow"]
    base = frame.z - _base_mm(frame)
    around = below & (outline > -4)
    tissue[around & (base > -9) & (mottle > -0.4)] = put["bone"]
    _paint_face(frame, tissue, around, mottle)
    meninges = np.maximum(brain, np.minimum(vault, base * 1.2))
    tissue[(vault > -4.2) & (meninges > -4.2)] = put["bone"]
    tissue[(meninges > -2.6) | (brain > -2.4)] = put["sulcal CSF"]
    return tissue


def _paint_face(frame: _Frame, tissue: Array, around: Array, mottle: Array) -> None:
    put = TISSUES.index
    nose = _ellipsoid(frame.side, frame.y, frame.z, (0, 62, -44), (15, 30, 16))
    tissue[around & (nose > 0) & (mottle > -0.7)] = put["air"]
    mastoid = _ellipsoid(frame.side, frame.y, frame.z, (58, -28, -46), (12, 16, 18))
    tissue[around & (mastoid > 0)] = put["bone"]
    tissue[around & (mastoid > 0) & (mottle > 0.2)] = put["air"]
    orbit = _ellipsoid(frame.side, frame.y, frame.z, (31, 66, -37), (17, 24, 15))
    tissue[orbit > 0] = put["fat"]
    globe = _ellipsoid(frame.side, frame.y, frame.z, (31, 76, -37), (12, 12, 12))
    tissue[globe > 0] = put["eye"]
    tissue[_ellipsoid(frame.side, frame.y, frame.z, (31, 86, -37), (5, 2.5, 5)) > 0] = put["muscle"]


def _sulci(grid: Grid, frame: _Frame, hull: Array, rng: np.random.Generator) -> Array:
    """CSF inside the hull: sulci, the Sylvian and the interhemispheric fissure."""
    atrophy = rng.uniform(0.7, 1.2)
    # Between the hemispheres the fissure reaches the corpus callosum and what lies below it.
    core = ((frame.y + 6) / 47) ** 2 + ((frame.z - 3) / 27) ** 2 < 1
    fissure_mm = np.abs(frame.x + 0.8 * grid.noise(8, rng))
    # Depth below the surface that folds; the base of the brain is smooth in the middle.
    depth = np.minimum(np.maximum(_egg(frame), 0), np.where(core, np.float32(99), fissure_mm))
    sheet_mm = _labyrinth(grid, frame, rng)
    length = 14 + 5 * grid.noise(8, rng)
    half_width = atrophy * np.maximum(1.3 * (1 - depth / np.maximum(length, 1)), 0.45)
    csf = (sheet_mm < half_width) & (depth < length)
    sylvian = frame.z + 6 + 0.24 * (frame.y - 20) - 0.45 * (frame.side - 48)
    sylvian = sylvian + 2.5 * grid.noise(9, rng)
    csf |= (np.abs(sylvian) < 1.15 * atrophy) & (frame.side > 38) & (np.abs(frame.y - 4) < 34)
    height = 15 - 0.25 * np.abs(frame.y - 4)
    insula = (np.abs(frame.y - 4) < 27) & (np.abs(frame.z + 4) < height)
    bowed = frame.side + 0.006 * (frame.y - 4) ** 2 + 1.2 * grid.noise(7, rng)
    csf |= insula & (np.abs(bowed - 40) < 1.0 * atrophy)
    csf |= (fissure_mm < 1.1 * atrophy) & ~core
    return csf


def _labyrinth(grid: Grid, frame: _Frame, rng: np.random.Generator) -> Array:
    """Distance in mm to the zero set of a narrow-band field that the hull carries inwards."""
    wavelength_mm = 19.5
    step_mm = 2.5
    n = 128
    frequency = np.fft.fftfreq(n, step_mm)
    fz = np.fft.rfftfreq(n, step_mm)
    radius = np.sqrt(frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + fz**2)
    ring = np.exp(-(((radius - 1 / wavelength_mm) * wavelength_mm / 0.22) ** 2))
    noise = np.fft.rfftn(rng.standard_normal((n, n, n), dtype=np.float32))
    band = np.fft.irfftn(noise * ring, s=(n, n, n), axes=(0, 1, 2)).astype(np.float32)
    radial = np.sqrt((frame.x / 67) ** 2 + (frame.y / 87) ** 2 + (frame.z / 60) ** 2)
    # Not quite onto the hull, so that sulci bend on their way in.
    outward = 1 / np.maximum(radial, 0.25) ** 0.85
    at = [
        (axis * outward + 3.2 * grid.noise(7, rng)) / step_mm + n / 2
        for axis in (frame.x, frame.y, frame.z)
    ]
    field = ndimage.map_coordinates(band, at, order=1, mode="grid-wrap", output=np.float32)
    slope = np.zeros_like(field)
    for axis, spacing in enumerate(grid.thin_mm):
        slope += np.gradient(field, spacing, axis=axis) ** 2
    return np.abs(field) / np.sqrt(slope + 1e-12)


def _paint_cerebrum(grid: Grid, tissue: Array, cerebrum: Array, csf: Array) -> None:
    """White matter, and cortex wherever the surface or a sulcus is near."""
    cortex_mm = 2.9
    put = TISSUES.index
    solid = cerebrum & ~csf
    to_surface = ndimage.distance_transform_edt(solid, sampling=grid.thin_mm)
    tissue[csf] = put["sulcal CSF"]
    tissue[solid] = put["white matter"]
    tissue[solid & (to_surface <= cortex_mm)] = put["cortex"]


def _paint_cerebellum(
    grid: Grid, frame: _Frame, tissue: Array, depth: Array, rng: np.random.Generator
) -> None:
    """Folia, fine sheets around a tree of white matter, and fissures: all of one label."""
    put = TISSUES.index
    inside = depth > 0
    tissue[inside] = put["cerebellar cortex"]
    angle = np.arctan2(frame.z[inside] + 44, -(frame.y[inside] + 36))
    wave = grid.noise(6, rng)[inside]
    folia = np.cos(26 * angle + 1.3 * wave + 0.05 * frame.x[inside])
    below = depth[inside]
    white = folia > 1.25 - 0.13 * below
    values = np.full(below.shape, put["cerebellar cortex"], dtype=np.uint8)
    values[white] = put["cerebellar white matter"]
    values[(folia < -0.86) & (below < 5)] = put["cerebellar fissure"]
    tissue[inside] = values


def _ventricles(frame: _Frame, rng: np.random.Generator) -> Array:
    """Lateral ventricles with their horns, and the third between the thalami."""
    size = rng.uniform(1.05, 1.7)
    body = [
        (7, 33, 8, 3.2 * size),
        (8, 20, 13, 4.2 * size),
        (9, 0, 19, 3.9 * size),
        (14, -22, 19, 4.2 * size),
        (23, -38, 10, 4.8 * size),
        (23, -58, 6, 2.4 * size),
    ]
    temporal = [(23, -38, 10, 4.2 * size), (32, -24, -10, 2.4 * size), (30, 2, -21, 1.6 * size)]
    lateral = np.maximum(_tube(frame, body, flat=1.15), _tube(frame, temporal)) > 0
    third = (frame.side < 1.1 + 0.9 * size) & (
        ((frame.y + 8) / 15) ** 2 + ((frame.z - 2) / 10) ** 2 < 1
    )
    return np.asarray((lateral & (frame.side > 0.9)) | third)


def _paint_nuclei(frame: _Frame, tissue: Array) -> None:
    put = TISSUES.index
    # The lens turns: its front lies nearer to the middle.
    turned = frame.side + 0.24 * (frame.y - 4)
    putamen = _ellipsoid(turned, frame.y, frame.z, (28, 4, 2), (6.6, 20, 12.5))
    pallidum = _ellipsoid(turned, frame.y, frame.z, (19.5, 0, 0), (4.5, 11, 8))
    thalamus = _ellipsoid(
        frame.side - 0.2 * (-frame.y - 14), frame.y, frame.z, (11, -14, 7), (9.8, 15.5, 10.5)
    )
    caudate = _tube(frame, [(15, 28, 7, 6.5), (17, 18, 13, 6), (18, 0, 20, 4), (22, -20, 20, 2.8)])
    tissue[putamen > 0] = put["caudate and putamen"]
    tissue[caudate > 0] = put["caudate and putamen"]
    tissue[pallidum > 0] = put["pallidum"]
    tissue[thalamus > 0] = put["thalamus"]


def _paint_lesions(grid: Grid, frame: _Frame, tissue: Array, rng: np.random.Generator) -> None:
    """White matter lesions around the ventricles and scattered; an infarct; a haemorrhage."""
    put = TISSUES.index
    white = tissue == put["white matter"]
    ventricle = tissue == put["ventricular CSF"]
    near = ndimage.distance_transform_edt(~ventricle, sampling=grid.thin_mm)
    patchy = 0.8 * grid.noise(4.5, rng) + 0.6 * grid.noise(2.2, rng)
    load = rng.uniform(-0.25, 0.3)
    caps = patchy > 0.85 - load + 0.24 * np.maximum(near - 1.5, 0)
    spots = patchy > 2.35 - load
    above = frame.z > -6
    tissue[white & above & (near < 24) & (caps | spots)] = put["white matter lesion"]
    _paint_blob(grid, frame, tissue, rng, ("infarct rim", "infarct core"), rng.uniform(7, 13))
    _paint_blob(grid, frame, tissue, rng, ("haemorrhage",), rng.uniform(4, 7))


def _paint_blob(
    grid: Grid,
    frame: _Frame,
    tissue: Array,
    rng: np.random.Generator,
    shells: tuple[str, ...],
    radius_mm: float,
) -> None:
    """An irregular ball in the outer white matter and the cortex beside it, rim to core."""
    put = TISSUES.index
    where = rng.choice([-1, 1]) * rng.uniform(33, 46), rng.uniform(-50, 30), rng.uniform(12, 32)
    half = (radius_mm, radius_mm * 1.2, radius_mm)
    depth = _ellipsoid(frame.x, frame.y, frame.z, where, half) + 1.6 * grid.noise(4, rng)
    brain = (tissue == put["white matter"]) | (tissue == put["cortex"])
    brain |= tissue == put["white matter lesion"]
    for shell, name in enumerate(shells):
        tissue[brain & (depth > 2.6 * shell)] = put[name]
