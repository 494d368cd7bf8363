"""The anatomy of a macula with diabetic oedema: where boundaries and fluid are.

Geometry is in micrometres and becomes pixels at the very end: the retina is a stack of seven
layers upon Bruch's membrane whose thicknesses follow the distance to the fovea, vary smoothly,
and swell where fluid lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from softlabel.phantom.fields import sigmoid, smooth_noise
from softlabel.types import Array

AXIAL_UM, LATERAL_UM, BSCAN_UM = 3.87, 11.33, 123.0
"""Distances between rows, columns and B-scans of the real data set, in micrometres."""

FULL_SHAPE = (496, 768, 61)
"""Rows, columns and B-scans of the real data set."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Where A-scans are, in micrometres from the fovea; arrays broadcast to (B-scans, columns)."""

    rows: int
    x_um: Array
    y_um: Array
    bscan_um: float

    @property
    def radius_um(self) -> Array:
        """Distance to the fovea."""
        return np.asarray(np.hypot(self.x_um, self.y_um))

    @property
    def shape(self) -> tuple[int, int]:
        """B-scans, columns."""
        return self.y_um.shape[0], self.x_um.shape[1]

    def noise(self, length_um: float, rng: np.random.Generator) -> Array:
        """Smooth field over the plane, of variance 1 and a correlation length in micrometres."""
        sigma = (length_um / 2 / self.bscan_um, length_um / 2 / LATERAL_UM)
        # Below half a B-scan the neighbours are as good as independent.
        return smooth_noise(self.shape, (sigma[0] if sigma[0] > 0.5 else 0, sigma[1]), rng)


@dataclass(frozen=True, eq=False)
class Cysts:
    """Fluid pockets: ellipsoids in micrometres, at a relative depth of a layer."""

    layer: Array
    x_um: Array
    y_um: Array
    depth: Array
    half_x_um: Array
    half_y_um: Array
    half_z_um: Array


def plane_of(shape: tuple[int, int, int], rng: np.random.Generator) -> Plane:
    """Lay (rows, columns, B-scans) over a macula whose fovea is a little off the centre."""
    rows, columns, n_bscans = shape
    # Fewer B-scans are spread over the same stretch, without those at its ends.
    bscan_um = BSCAN_UM * (FULL_SHAPE[2] + 1) / (n_bscans + 1)
    fovea_x, fovea_y = rng.normal(0, (150, 100))
    x = (np.arange(columns) - (columns - 1) / 2) * LATERAL_UM - fovea_x
    y = (np.arange(n_bscans) - (n_bscans - 1) / 2) * bscan_um - fovea_y
    return Plane(rows, x[None, :], y[:, None], bscan_um)


def draw_retina(plane: Plane, rng: np.random.Generator) -> tuple[Array, Cysts]:
    """Thickness of the seven layers in µm, (7, B-scans, columns), and the fluid that swells it."""
    r = plane.radius_um
    nasal = plane.x_um * rng.choice([-1, 1])
    pit_um = rng.uniform(280, 420)
    slope = 1 - np.exp(-((r / pit_um) ** 2))
    rim = np.exp(-(((r - 950) / 900) ** 2))
    thickness = np.stack(
        [
            5 + slope * (16 + 26 * sigmoid((nasal - 900) / 700)),
            slope * (42 + 46 * rim) + 4,
            slope * (29 + 11 * rim) + 5,
            slope * 14 + 13,
            64 + 46 * np.exp(-((r / 600) ** 2)) + 8 * rim,
            24 + 7 * np.exp(-((r / 450) ** 2)),
            28 + 4 * np.exp(-((r / 500) ** 2)),
        ]
    )
    for layer, relative in enumerate((0.10, 0.07, 0.09, 0.08, 0.06, 0.035, 0.035)):
        thickness[layer] *= np.exp(relative * plane.noise(900, rng) + relative * rng.normal())
    cysts = _draw_cysts(rng)
    diffuse = rng.uniform(0.0, 0.5) * np.exp(-((r / rng.uniform(900, 1800)) ** 2))
    thickness[[2, 4]] *= 1 + diffuse * np.array([0.9, 0.7])[:, None, None]
    for layer in (2, 4):
        thickness[layer] += _swelling(plane, cysts, layer)
    return thickness, cysts


def _draw_cysts(rng: np.random.Generator) -> Cysts:
    """Small pockets in the INL (layer index 2), larger ones in the ONL (4), around one focus."""
    count = int(rng.integers(25, 75))
    outer = rng.random(count) < 0.45
    focus = rng.normal(0, 350, 2)
    spread = rng.uniform(350, 800)
    half_x = np.where(outer, rng.uniform(90, 330, count), rng.uniform(50, 170, count))
    return Cysts(
        layer=np.where(outer, 4, 2),
        x_um=focus[0] + spread * rng.standard_normal(count),
        y_um=focus[1] + spread * rng.standard_normal(count),
        depth=np.where(outer, rng.uniform(0.3, 0.55, count), rng.uniform(0.4, 0.6, count)),
        half_x_um=half_x,
        half_y_um=half_x * rng.uniform(0.8, 1.4, count),
        half_z_um=np.minimum(half_x * rng.uniform(0.35, 0.75, count), 125),
    )


def _swelling(plane: Plane, cysts: Cysts, layer: int) -> Array:
    """Extra thickness in µm that the pockets of one layer make, smooth as tissue is."""
    limit_um = 230.0
    height = np.zeros(plane.shape)
    for i in np.flatnonzero(cysts.layer == layer):
        u = ((plane.x_um - cysts.x_um[i]) / (1.3 * cysts.half_x_um[i])) ** 2
        v = ((plane.y_um - cysts.y_um[i]) / (1.3 * cysts.half_y_um[i])) ** 2
        height += 2.1 * cysts.half_z_um[i] * np.maximum(0, 1 - u - v) ** 0.5
    smooth_um = 110.0
    sigma = (smooth_um / plane.bscan_um, smooth_um / LATERAL_UM)
    height = ndimage.gaussian_filter(height, sigma, mode="nearest")
    return np.asarray(limit_um * np.tanh(height / limit_um))


def place_retina(plane: Plane, thickness_um: Array, rng: np.random.Generator) -> Array:
    """Rows of the 8 boundaries, (8, B-scans, columns): tilted, curved, and shaken by the eye."""
    rows = plane.rows
    half_width = np.ptp(plane.x_um) / 2
    tilt = rng.normal(0, 0.035) + 0.006 * rng.standard_normal((plane.shape[0], 1))
    curvature_um = rng.uniform(40, 150) * (half_width / 4350) ** 2
    bowl = curvature_um * ((plane.x_um / half_width) ** 2 + (plane.y_um / 3750) ** 2)
    jump_um = 10 * rng.standard_normal((plane.shape[0], 1))
    # Towards the edges the globe curves up, towards the instrument.
    bm_um = plane.x_um * tilt - bowl + 5 * plane.noise(1200, rng) + jump_um
    above = np.cumsum(thickness_um[::-1], axis=0)[::-1]
    depth = np.concatenate([bm_um - above, bm_um[None]]) / AXIAL_UM
    return np.asarray(depth + _offset_to_fit(depth, rows, rng))


def _offset_to_fit(depth: Array, rows: int, rng: np.random.Generator) -> float:
    """Row to add so that the retina lies a little above the middle and within the frame."""
    top, bottom = depth[0].min(), depth[-1].max()
    margin = 8.0
    wished = rows * rng.uniform(0.42, 0.54) - (depth[0].mean() + depth[-1].mean()) / 2
    lowest, highest = margin - top, rows - 2 * margin - bottom
    if lowest > highest:
        return float((lowest + highest) / 2)
    return float(np.clip(wished, lowest, highest))


def fluid_regions(
    plane: Plane, curves: Array, cysts: Cysts, b: int, rng: np.random.Generator
) -> Array:
    """Numbered fluid regions of one B-scan, uint8 (rows, columns).

    A pixel is fluid in the ellipsoid that holds it deepest, except where a second one holds it
    nearly as deep: there a septum of tissue stays.
    """
    shape = plane.rows, curves.shape[1]
    best, second = np.full(shape, 9.0, np.float32), np.full(shape, 9.0, np.float32)
    ripple = smooth_noise(shape, (9, 7), rng)
    y = float(plane.y_um[b, 0])
    for i in range(len(cysts.layer)):
        off_plane = ((y - cysts.y_um[i]) / cysts.half_y_um[i]) ** 2
        if off_plane >= 1:
            continue
        top, bottom = curves[cysts.layer[i]], curves[cysts.layer[i] + 1]
        centre = top + cysts.depth[i] * (bottom - top)
        across = ((plane.x_um[0] - cysts.x_um[i]) / cysts.half_x_um[i]) ** 2
        columns = np.flatnonzero(across < 2)
        if not columns.size:
            continue
        c = slice(columns[0], columns[-1] + 1)
        row = np.arange(plane.rows, dtype=np.float32)[:, None]
        along = np.abs((row - centre[c]) * AXIAL_UM / cysts.half_z_um[i]) ** 2.4
        u = (along + across[c] + off_plane).astype(np.float32) * (1 + 0.14 * ripple[:, c])
        u[(row < top[c] + 1.5) | (row > bottom[c] - 1.5)] = 9
        second[:, c] = np.minimum(second[:, c], np.maximum(best[:, c], u))
        best[:, c] = np.minimum(best[:, c], u)
    fluid = (best < 1) & (second - best > 0.16)
    regions, count = ndimage.label(fluid)
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    keep = np.flatnonzero(areas >= 25)[1:] if areas[0] >= 25 else np.flatnonzero(areas >= 25)
    # Region numbers fit a byte; graders mark what is large enough to be seen.
    keep = keep[np.argsort(-areas[keep], kind="stable")][:15]
    number = np.zeros(count + 1, dtype=np.uint8)
    number[np.sort(keep)] = np.arange(1, len(keep) + 1)
    return number[regions]
