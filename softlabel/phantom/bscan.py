"""How an OCT instrument shows a retina.

The image is made as the instrument makes it: reflectivities blur by the point spread function,
each frame carries fully developed speckle (the squared magnitude of a complex Gaussian field that
the same function has blurred), frames are averaged, a noise floor is added, and the logarithm is
shown on 256 grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from softlabel.phantom.fields import sigmoid, smooth_noise
from softlabel.phantom.retina import AXIAL_UM, Plane
from softlabel.phantom.visibility import Visibility
from softlabel.types import Array

_GREY_PER_DECADE = 64.0
"""Grey levels for a factor of ten in intensity: 256 levels show 40 dB."""

# Grey level of regions 0..8 where contrast is full; the mean of the retina, towards which levels
# move where contrast is poor; and the level of fluid.
_LEVELS = (2.0, 186.0, 140.0, 98.0, 144.0, 72.0, 156.0, 180.0, 146.0)
_MEAN_LEVEL = 122.0
_FLUID_LEVEL = 34.0
_NOISE_FLOOR_LEVEL = 23.0

_PSF_PX = (0.75, 0.65)
"""Standard deviation of the point spread function along rows and columns, in pixels."""
_FRAMES = 3


@dataclass(frozen=True, eq=False)
class Scene:
    """What varies slowly over the volume and makes boundaries visible or not."""

    levels: Array
    """(9, B-scans, columns): grey level of each region, contrast included."""
    shadow: Array
    """(B-scans, columns): grey levels lost below the retinal vessels."""
    gain: Array
    """(B-scans, columns): grey levels lost or won along a whole A-scan."""


def draw_scene(plane: Plane, rng: np.random.Generator, visibility: Visibility) -> Scene:
    """Draw contrast, brightness and vessel shadows, which drift slowly over the volume."""
    contrast = 0.80 + 0.34 * np.tanh(1.1 * plane.noise(1100, rng))
    contrast = visibility.contrast * contrast
    levels = np.empty((9, *plane.shape), dtype=np.float32)
    for region, level in enumerate(_LEVELS):
        drift = 6.0 * plane.noise(700, rng)
        levels[region] = _MEAN_LEVEL + contrast * (level - _MEAN_LEVEL) + drift
    levels[0] = _LEVELS[0]
    gain = 7 * plane.noise(1600, rng) + 3 * rng.standard_normal((plane.shape[0], 1))
    edge = np.abs(np.linspace(-1, 1, plane.shape[1]))
    gain = gain - 14 * edge[None, :] ** 4
    return Scene(levels, _vessel_shadows(plane, rng), gain.astype(np.float32))


def _vessel_shadows(plane: Plane, rng: np.random.Generator) -> Array:
    """Grey levels that light loses in vessels, which run in gentle curves across the B-scans."""
    shadow = np.zeros(plane.shape)
    span = np.ptp(plane.x_um)
    for _ in range(int(rng.integers(5, 13))):
        start = rng.uniform(-0.55, 0.55) * span
        # Vessels arch around the fovea: away from the middle line with distance.
        path = start * (1 + 0.25 * (plane.y_um / 3000) ** 2) + rng.normal(0, 0.3) * plane.y_um
        path = path + 60 * smooth_noise((plane.shape[0], 1), (4, 0), rng)
        half_um = rng.uniform(14, 55)
        loss = rng.uniform(14, 46) * min(1.0, half_um / 30)
        profile = np.exp(-(((plane.x_um - path) / half_um) ** 4))
        avoid_fovea = sigmoid((plane.radius_um - 380) / 60)
        shadow = np.maximum(shadow, loss * profile * avoid_fovea)
    return shadow


def expected_intensity(
    scene: Scene, curves: Array, fluid: Array, b: int, rng: np.random.Generator
) -> Array:
    """Mean intensity of each pixel after the point spread function, float32 (rows, columns)."""
    rows = fluid.shape[0]
    row = np.arange(rows, dtype=np.float32)[:, None]
    curves = curves.astype(np.float32)
    texture = 4.0 * smooth_noise(fluid.shape, (1.6, 7), rng)
    intensity = np.zeros(fluid.shape, dtype=np.float32)
    below_upper = np.ones(fluid.shape, dtype=np.float32)
    for region in range(9):
        # The share of a pixel that lies below a boundary: partial volume, exactly.
        below_lower = (
            np.clip(row + 0.5 - curves[region], 0, 1) if region < 8 else np.zeros_like(intensity)
        )
        share = below_upper - below_lower
        below_upper = below_lower
        inside = share > 0
        grey = _grey(region, row, curves, scene.levels[region, b], inside)
        if region > 0:
            grey = grey + texture[inside]
        if region == 8:
            grey = grey + _choroid(row - curves[7], fluid.shape, rng)[inside]
        intensity[inside] += share[inside] * 10 ** (grey / _GREY_PER_DECADE)
    wet = ndimage.gaussian_filter((fluid > 0).astype(np.float32), 0.5)
    drop = 10 ** ((_FLUID_LEVEL + texture) / _GREY_PER_DECADE)
    intensity = intensity * (1 - wet) + drop * wet
    intensity *= _bright_foci(curves, fluid.shape, rng)
    lost = scene.shadow[b] * np.clip((row - curves[1] + 4) / 8, 0, 1) - scene.gain[b]
    intensity *= 10 ** (-lost / _GREY_PER_DECADE)
    return np.asarray(ndimage.gaussian_filter(intensity, _PSF_PX, mode="nearest"))


def _grey(region: int, row: Array, curves: Array, level: Array, inside: Array) -> Array:
    """Grey level within one region at the pixels ``inside``, with its own profile in depth."""

    def at(values: Array) -> Array:
        return np.broadcast_to(values, inside.shape)[inside]

    base = at(level)
    if region in (0, 8):
        return base
    top, bottom = at(curves[region - 1]), at(curves[region])
    depth = at(row) - top
    part = depth / np.maximum(bottom - top, 0.5)
    if region == 1:  # the ILM shines a little; fibres fade with depth
        return base + 10 * np.exp(-((depth / 2) ** 2)) - 10 * part
    if region == 2:  # ganglion cells are darker than the inner plexiform layer
        return base - 10 + 20 * sigmoid((part - 0.55) / 0.06)
    if region == 5:  # ELM: a thin line in front of the inner segments, which are brighter
        elm = depth - (bottom - top) + 25 / AXIAL_UM
        return base + 26 * np.exp(-((elm / 1.1) ** 2)) + 14 * sigmoid(elm / 1.2)
    if region == 6:  # ellipsoid zone, then the darker outer segments
        return (
            base + 24 * np.exp(-(((part - 0.35) / 0.28) ** 2)) - 26 * sigmoid((part - 0.8) / 0.07)
        )
    if region == 7:  # interdigitation zone, then the RPE
        return base - 8 + 34 * np.exp(-(((part - 0.62) / 0.26) ** 2))
    return base


def _choroid(depth: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Grey levels to add below Bruch's membrane: capillaries, dark vessels, sclera, decay."""
    thickness = 62 + 9 * smooth_noise((1, shape[1]), (0, 60), rng)
    lumen = smooth_noise(shape, (7, 12), rng) + 0.5 * smooth_noise(shape, (3.5, 6), rng)
    inside = sigmoid((depth - 7) / 3) * sigmoid((thickness - depth) / 4)
    vessels = -34 * sigmoid((lumen - 0.35) / 0.22) * inside
    streaks = 4 * smooth_noise(shape, (40, 2.0), rng)
    beyond = np.maximum(depth - thickness, 0)
    decay = -0.52 * depth - 0.55 * beyond
    return np.asarray(vessels + decay + streaks * sigmoid(depth / 10) + 8 * np.exp(-depth / 6))


def _bright_foci(curves: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Factors for hard exudates: bright specks in the outer plexiform layer and around it."""
    factor = np.ones(shape, dtype=np.float32)
    for _ in range(int(rng.poisson(5))):
        c = int(rng.integers(10, shape[1] - 10))
        r = float(rng.uniform(curves[2, c], curves[4, c] + 4))
        radius = rng.uniform(0.8, 2.2)
        top = max(0, int(r) - 8)
        box = np.s_[top : top + 17, c - 9 : c + 10]
        rows, columns = np.mgrid[box]
        spot = np.exp(-((((rows - r) / radius) ** 2 + ((columns - c) / radius) ** 2) ** 1.5))
        factor[box] *= 10 ** (rng.uniform(40, 80) / _GREY_PER_DECADE * spot)
        below = np.s_[top + 8 :, c - 2 : c + 3]
        factor[below] *= 10 ** (-rng.uniform(4, 16) / _GREY_PER_DECADE)
    return factor


def acquire(expected: Array, rng: np.random.Generator, visibility: Visibility) -> Array:
    """One averaged acquisition of an expected intensity: speckle, and a noise floor.

    Fully developed speckle multiplies the intensity by a variable of mean 1, the squared
    magnitude of a complex Gaussian; frames of a moving eye average ``_FRAMES`` independent ones,
    more of them where there is to be less noise.
    """
    speckle = np.zeros_like(expected)
    for _ in range(2 * max(1, round(_FRAMES / visibility.noise**2))):
        part = ndimage.gaussian_filter(
            rng.standard_normal(expected.shape, dtype=np.float32), _PSF_PX, mode="wrap"
        )
        speckle += part**2
    speckle /= speckle.mean()
    floor = rng.standard_gamma(6.0, size=expected.shape, dtype=np.float32) * (noise_floor() / 6.0)
    return np.asarray(expected * speckle + floor)


def noise_floor() -> float:
    """Mean intensity where no light comes back."""
    return float(10 ** (_NOISE_FLOOR_LEVEL / _GREY_PER_DECADE))


def display(intensity: Array, wedge: Array) -> Array:
    """Grey levels 0..254 of an intensity (rows, columns), and 255 in the wedge."""
    grey = np.rint(_GREY_PER_DECADE * np.log10(intensity)).clip(0, 254).astype(np.uint8)
    grey[wedge] = 255
    return grey


def draw_wedge(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw which pixels registration moved in from outside: its shear and shift of the rows."""
    slope = rng.normal(0, 0.07)
    shift = rng.normal(0, 7.0)
    registered = rng.random() < 0.85
    column = np.arange(shape[1]) - (shape[1] - 1) / 2
    moved = np.arange(shape[0])[:, None] - (shift + slope * column) * registered
    return np.asarray((moved < -0.5) | (moved > shape[0] - 0.5))
