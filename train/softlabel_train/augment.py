"""Random changes of training images: drawn in the loader, applied where they are cheap.

Crops and flips happen in the loader, on compact labels. Everything else needs dense maps and is
done by MONAI on the training device, after expansion, from the few numbers that the loader drew.
Everything is drawn from (seed, epoch, index), so neither the number of loader processes nor an
interruption changes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from softlabel_train.config import AugmentConfig

ELASTIC_STEP = 32
"""Pixels between the control points of an elastic deformation."""


@dataclass(frozen=True, eq=False)
class Change:
    """What happens to one image.

    Attributes
    ----------
    flip : tuple of bool
        Mirrored spatial axes.
    warp : ndarray of float32, shape (dims, dims + 1), or None
        Output pixel to input pixel, in pixels from the centre of the patch, axes in array order.
    elastic : ndarray of float32, shape (dims, *controls), or None
        Displacement in pixels at control points that are spread evenly over the patch.
    blur : tuple of float
        Standard deviation of a Gaussian along each axis, in pixels; empty for none.
    contrast, brightness : float
        image · contrast + brightness, on normalised intensities.
    low_resolution : tuple of float
        Factor by which each axis is made smaller and larger again; empty for none.
    gamma : float
        Exponent of the intensities of each channel between its least and largest one; mean and
        deviation stay.
    noise : float
        noise · N(0, 1) is added.
    noise_seed : int
    """

    flip: tuple[bool, ...]
    warp: npt.NDArray[np.float32] | None = None
    elastic: npt.NDArray[np.float32] | None = None
    blur: tuple[float, ...] = ()
    contrast: float = 1.0
    brightness: float = 0.0
    low_resolution: tuple[float, ...] = ()
    gamma: float = 1.0
    noise: float = 0.0
    noise_seed: int = 0

    @property
    def moves(self) -> bool:
        """Whether pixels change their places after the loader."""
        return self.warp is not None or self.elastic is not None


def draw_change(
    config: AugmentConfig,
    shape: Sequence[int],
    rng: np.random.Generator,
    slice_axis: int | None = None,
) -> Change:
    """Draw the change of one patch.

    Parameters
    ----------
    config : AugmentConfig
    shape : sequence of int
        Spatial shape of the patch.
    rng : Generator
    slice_axis : int, optional
        Axis across the slices of a volume: it is turned around that, by default the last, and
        nothing is bent, blurred or made coarser along it where it is given.
    """
    dims = len(shape)
    flip = tuple(axis in config.flip and bool(rng.random() < 0.5) for axis in range(dims))
    warp = _draw_warp(config, shape, rng, slice_axis) if config.warps else None
    contrast = 1 + config.contrast * rng.uniform(-1, 1)
    brightness = config.brightness * rng.uniform(-1, 1)
    noise = config.noise * rng.uniform(0, 1)
    noise_seed = int(rng.integers(2**62))
    inside = np.array([axis != slice_axis for axis in range(dims)], np.float64)
    chosen = rng.random(7) < config.chance
    elastic = _draw_elastic(config.elastic, shape, inside, rng) if config.elastic else None
    blur, coarser = config.blur * rng.uniform(0, 1), config.low_resolution * rng.uniform(0, 1)
    gamma = 1 + config.gamma * rng.uniform(-1, 1)
    return Change(
        flip,
        warp=warp if chosen[0] else None,
        elastic=elastic if chosen[1] else None,
        blur=tuple(blur * inside) if blur and chosen[2] else (),
        contrast=contrast if chosen[3] else 1.0,
        brightness=brightness if chosen[3] else 0.0,
        low_resolution=tuple(1 - coarser * inside) if coarser and chosen[4] else (),
        gamma=gamma if chosen[5] else 1.0,
        noise=noise if chosen[6] else 0.0,
        noise_seed=noise_seed,
    )


def _draw_warp(
    config: AugmentConfig, shape: Sequence[int], rng: np.random.Generator, slice_axis: int | None
) -> npt.NDArray[np.float32]:
    """Rotation in the plane of the slices and across it, zoom of all axes, shift."""
    dims = len(shape)
    matrix = np.eye(dims, dims + 1)
    angle = np.deg2rad(config.rotate_degrees * rng.uniform(-1, 1))
    zoom = 1 + config.scale * rng.uniform(-1, 1)
    across = dims - 1 if slice_axis is None else slice_axis
    plane = [axis for axis in range(dims) if dims == 2 or axis != across]
    if dims > 1:
        matrix[:, :dims] = _turn(dims, plane[0], plane[1], angle)
    matrix[:, :dims] /= zoom
    matrix[:, dims] = config.shift * rng.uniform(-1, 1, dims) * shape
    if dims == 3 and config.rotate_across_degrees:
        for axis in plane:
            angle = np.deg2rad(config.rotate_across_degrees * rng.uniform(-1, 1))
            matrix[:, :dims] = _turn(dims, axis, across, angle) @ matrix[:, :dims]
    return matrix.astype(np.float32)


def _turn(dims: int, first: int, second: int, angle: float) -> npt.NDArray[np.float64]:
    """Rotation from one axis to another."""
    matrix = np.eye(dims)
    matrix[np.ix_([first, second], [first, second])] = [
        [np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]
    ]  # fmt: skip
    return matrix


def _draw_elastic(
    largest: float,
    shape: Sequence[int],
    inside: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Displacements of control points, up to a largest one along each axis."""
    controls = [max(2, round(n / ELASTIC_STEP) + 1) for n in shape]
    moved = rng.uniform(-largest, largest, (len(shape), *controls))
    return (moved * inside.reshape(-1, *[1] * len(shape))).astype(np.float32)


def apply_places(
    image: Tensor, labels: Tensor, soft: Tensor, changes: Sequence[Change], ignore: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Move the pixels of a batch: images and soft labels linearly, hard labels to the nearest.

    What comes from outside the patch is ignored, with soft labels of 0 and border intensities.

    Parameters
    ----------
    image : Tensor of float32, shape (B, C, *spatial)
    labels : Tensor of an integer type, shape (B, *spatial)
    soft : Tensor of float32, shape (B, K, *spatial)
    changes : sequence of Change
    ignore : int
        Value of ignored pixels in ``labels``.
    """
    if not any(change.moves for change in changes):
        return image, labels, soft
    new_image, new_labels, new_soft = image.clone(), labels.clone(), soft.clone()
    for i, change in enumerate(changes):
        if change.moves:
            grid = sampling_grid(change, image.shape[2:], image.device)
            new_image[i] = resampled(image[i], grid, "bilinear", "border")
            annotated = labels[i] != ignore
            # 0 is both outside and ignored
            shifted = torch.where(annotated, labels[i].to(torch.float32) + 1, 0)
            index = resampled(shifted.unsqueeze(0), grid, "nearest", "zeros")[0].round() - 1
            known = index >= 0
            new_labels[i] = torch.where(known, index, ignore).to(labels.dtype)
            # the share of annotated pixels, so that others beside do not lessen the sum
            weighted = torch.cat([soft[i], annotated.to(soft.dtype).unsqueeze(0)])
            *maps, share = resampled(weighted, grid, "bilinear", "border").unbind()
            new_soft[i] = torch.stack(maps) / share.clamp(min=1e-3) * known
    return new_image, new_labels, new_soft


def sampling_grid(change: Change, shape: Sequence[int], device: torch.device) -> Tensor:
    """Where each output pixel comes from, (dims + 1, *shape), in pixels from the centre."""
    from monai.transforms import AffineGrid

    dims = len(shape)
    matrix = np.eye(dims + 1)
    if change.warp is not None:
        matrix[:dims] = change.warp
    grid = AffineGrid(affine=matrix, device=device, dtype=torch.float32)(spatial_size=shape)[0]
    if change.elastic is not None:
        controls = torch.from_numpy(change.elastic).to(device).unsqueeze(0)
        mode = "bilinear" if dims == 2 else "trilinear"
        moved = functional.interpolate(controls, tuple(shape), mode=mode, align_corners=True)
        grid[:dims] += moved[0]
    return _plain(grid)


def resampled(values: Tensor, grid: Tensor, mode: str, outside: str) -> Tensor:
    """Values (C, *spatial) at the places of a grid."""
    from monai.transforms import Resample

    return _plain(Resample(mode, outside, dtype=values.dtype)(values, grid))


def _plain(values: Any) -> Tensor:
    """A tensor without the metadata that MONAI adds."""
    return values.as_tensor() if hasattr(values, "as_tensor") else values


def apply_intensity(image: Tensor, changes: Sequence[Change]) -> Tensor:
    """Blur, contrast, resolution, gamma and noise of normalised images (B, C, *spatial)."""
    if all(
        c.contrast == c.gamma == 1 and c.brightness == c.noise == 0
        and not (c.blur or c.low_resolution) for c in changes
    ):  # fmt: skip
        return image
    return torch.stack([_intensity(one, c) for one, c in zip(image, changes, strict=True)])


def _intensity(image: Tensor, change: Change) -> Tensor:
    """The same for one image (C, *spatial)."""
    from monai.transforms import AdjustContrast

    if change.blur:
        image = _blurred(image, change.blur)
    image = image * change.contrast + change.brightness
    if change.low_resolution:
        image = _coarser(image, change.low_resolution)
    if change.gamma != 1:
        bend = AdjustContrast(change.gamma, retain_stats=True)
        # a channel without contrast has no intensities in between
        image = torch.stack([_plain(bend(c)) if c.std() > 0 else c for c in image])
    if change.noise:
        generator = torch.Generator(image.device).manual_seed(change.noise_seed)
        noise = torch.randn(
            image.shape, generator=generator, device=image.device, dtype=image.dtype
        )
        image = image + change.noise * noise
    return image


def _blurred(image: Tensor, deviations: Sequence[float]) -> Tensor:
    """Gaussian blur; the border is repeated, since beyond it MONAI would take 0."""
    from monai.transforms import GaussianSmooth

    pads = [math.ceil(4 * d) for d in deviations]
    flat = [pad for each in reversed(pads) for pad in (each, each)]
    padded = functional.pad(image.unsqueeze(0), flat, mode="replicate")[0]
    inside = tuple(slice(p, p + n) for p, n in zip(pads, image.shape[1:], strict=True))
    return _plain(GaussianSmooth(deviations)(padded))[(slice(None), *inside)]


def _coarser(image: Tensor, factors: Sequence[float]) -> Tensor:
    """As a scanner of larger pixels would have it: fewer pixels, and linearly back."""
    shape = image.shape[1:]
    fewer = [max(1, round(n * factor)) for n, factor in zip(shape, factors, strict=True)]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(shape)]
    small = functional.interpolate(image.unsqueeze(0), fewer, mode="nearest-exact")
    return functional.interpolate(small, tuple(shape), mode=mode)[0]
